"""The blocks on a CPU: branches folded before the convolution, and C kernels."""
