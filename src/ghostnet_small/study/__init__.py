"""Recipes, the runner of a recipe, and what it leaves: provenance, pictures, records."""
