"""Secret sharing: additive, Shamir modulo m, and Shamir over the integers, each in a module of its own."""
