"""Use trained weights and exported files: classify, evaluate, predict, fold, export."""
