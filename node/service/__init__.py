"""Starling as a service of the system: what is put in place, and how it is taken away again."""
