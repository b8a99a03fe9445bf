"""What a worker process may reach: what it needs and nothing else, where the kernel can keep it to that."""
