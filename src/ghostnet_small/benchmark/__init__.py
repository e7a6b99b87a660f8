"""Benchmarks of training, distillation and deployment."""
