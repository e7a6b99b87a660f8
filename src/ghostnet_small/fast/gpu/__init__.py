"""GhostNetV3 in training on a GPU: few, fused kernels in place of thousands of small ones."""
