"""The code that data sets and models of the Hugging Face hub share."""
