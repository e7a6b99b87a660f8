"""Kernels in other languages than Python, for what PyTorch has no fast operation."""
