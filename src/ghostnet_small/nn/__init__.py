"""Blocks of the network, and their folding."""
