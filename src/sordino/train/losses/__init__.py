"""What training minimises, one measure a file."""

from sordino.train.losses.spectral import LossConfig, total_loss

__all__ = ["LossConfig", "total_loss"]
