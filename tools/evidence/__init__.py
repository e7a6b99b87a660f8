"""Experiment records of this repository: rows, tables, figures, the queue and shipped weights."""
