"""Local training: tasks behind one small interface, run in a worker process of their own."""
