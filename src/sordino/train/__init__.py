"""Training: data, network, losses, loop, export.  The only package that imports PyTorch."""
