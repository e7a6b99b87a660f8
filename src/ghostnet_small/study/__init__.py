"""Recipes, the runner of a recipe, and what it leaves: provenance, pictures, records."""

from ghostnet_small.callable_package import make_callable

make_callable(__name__)
