"""One recipe from its data to its record: the folder of a run and what fills it."""
