"""Checking the specification, and logs against it, with TLC."""
