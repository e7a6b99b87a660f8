"""From images to a device: what fits, what to train in the time, and what came of it."""

from ghostnet_small.callable_package import make_callable

make_callable(__name__)
