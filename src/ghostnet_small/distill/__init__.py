"""Distillation: losses, teachers' targets and their cache, and what a student is trained on."""
