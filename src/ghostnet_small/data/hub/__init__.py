"""Named sets of the Hugging Face hub."""
