"""From floating-point updates to packed plaintexts and stored blobs, and back."""
