"""Faster ways to compute the blocks of ``nn``, equal to their definitions up to rounding.

``fast.use(model)`` switches a network to them. The fast version of a block is in the file of the
same name.
"""

from ghostnet_small.fast.switch import ready_to_answer, use

__all__ = ["ready_to_answer", "use"]
