"""Networks that are kept as measured baselines."""
