"""One self-contained HTML page of a job: for a meeting, an auditor, or the archive."""
