"""Recipes: the typed settings of one experiment, from YAML, Python and the command line."""
