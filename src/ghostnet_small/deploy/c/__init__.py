"""The network as one C99 file: its steps, its memory and its code."""
