"""C kernels for computations that PyTorch has no fast operation for."""
