"""The folded network on its way to a device: exported, quantised, run and timed there."""
