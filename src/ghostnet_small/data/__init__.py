"""Pictures in memory: sources, splits and augmentation."""
