"""Files and containers to blocks of samples, and back."""
