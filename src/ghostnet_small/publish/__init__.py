"""Cards of trained weights, and their way to a hub and back."""
