"""The training engine: it knows tensors, modules and data, never which network it trains."""
