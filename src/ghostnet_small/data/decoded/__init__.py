"""Encoded images to pixels, once: in parallel, into a checked cache, in memory or mapped."""
