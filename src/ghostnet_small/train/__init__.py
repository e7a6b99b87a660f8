"""The training engine: it knows tensors, modules and data, never which network it trains."""

from ghostnet_small.callable_package import make_callable

make_callable(__name__)
