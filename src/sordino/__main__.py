"""`python -m sordino` is the `sordino` command."""

from sordino.cli import main

if __name__ == "__main__":  # workers that are started by multiprocessing import this module
    main()
