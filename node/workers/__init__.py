"""Worker processes: started by the node, asked one thing at a time over pipes, replaced when lost."""
