"""The training room: data, network, losses, loop, export.  The only place that imports PyTorch."""
