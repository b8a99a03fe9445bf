"""The built-in task: handwritten digits, 28 × 28 pixels, ten classes."""
