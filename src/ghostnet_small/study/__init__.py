"""Many runs: a study's plan, its scheduler, and the engines that run it."""

from ghostnet_small.callable_package import make_callable

make_callable(__name__)
