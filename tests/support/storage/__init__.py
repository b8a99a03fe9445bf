"""Real providers for the tests of storage, each with what the contract suite needs to know of it."""
