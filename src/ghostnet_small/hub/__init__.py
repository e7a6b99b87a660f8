"""What data sets and models of the Hugging Face hub have in common."""
