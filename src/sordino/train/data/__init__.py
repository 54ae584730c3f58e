"""Training data: recordings to batches of noisy speech with clean targets."""
