"""Training data, sampling and the trainer."""
