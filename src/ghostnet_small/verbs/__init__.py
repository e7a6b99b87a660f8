"""The verbs of the command line in Python; the package itself names them."""
