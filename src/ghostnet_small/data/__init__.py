"""Images in memory: sources, splits and augmentation."""
