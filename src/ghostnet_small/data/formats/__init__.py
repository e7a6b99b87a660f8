"""The forms that a data set on disk may have: a reader for each."""
