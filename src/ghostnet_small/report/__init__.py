"""The report of a study: tables and plots, made only from the rows of its runs."""
