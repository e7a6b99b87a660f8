"""The training engine. It handles tensors, modules and data, and is independent of the network."""

from ghostnet_small.callable_package import make_callable

make_callable(__name__)
