"""Trained weights and exported files at work: classify, evaluate, predict, fold, export."""
