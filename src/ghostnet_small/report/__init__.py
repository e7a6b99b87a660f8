"""The report of a study: tables and plots, made from the rows of its runs alone."""
