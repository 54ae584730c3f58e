"""Quality of noise suppression: `score` for one clip, `evaluate_set` for a folder of them.

Needs the extra "evaluate".
"""

from sordino.evaluate.runner import evaluate_set
from sordino.evaluate.scores import ALL, FAST, MEASURES, score
from sordino.evaluate.statistics import means

__all__ = ["ALL", "FAST", "MEASURES", "evaluate_set", "means", "score"]
