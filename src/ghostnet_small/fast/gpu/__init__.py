"""GhostNetV3 on a GPU: few fused kernels in place of thousands of small ones."""
