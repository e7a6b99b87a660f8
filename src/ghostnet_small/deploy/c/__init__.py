"""The network as one C99 file: what it does in which order, its memory, and the code."""
