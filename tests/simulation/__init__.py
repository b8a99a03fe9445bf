"""A whole cohort in one process, in simulated time, from one seed."""
