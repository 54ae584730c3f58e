"""Make a small copy of a training run's checkpoint, for keeping in the repository.

    python scripts/keep_checkpoint.py runs/studio/last.safetensors training/studio.safetensors

The weights and their average stay, in half precision.  The moments of the optimiser, which are two
thirds of the file or more and come back within some hundred updates, are left out, and so is where
the data lay.  A run resumes from the copy: put it into the run's folder as last.safetensors.
"""

import argparse
from pathlib import Path

from sordino.train.checkpoint import load_checkpoint, save_small


def main() -> None:
    """Write the copy, and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("copy", type=Path)
    options = parser.parse_args()
    saved = load_checkpoint(options.checkpoint)
    save_small(options.copy, saved)
    hours, size = saved.progress.hours, options.copy.stat().st_size
    print(f"{options.copy}: step {saved.progress.step}, {hours:.1f} h heard, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
