"""How good the output is: `score` for one clip, `evaluate_set` for a folder of them.

Needs the extra ``[evaluate]``.
"""

from sordino.evaluate.measures import ALL, FAST, MEASURES, score
from sordino.evaluate.sets import evaluate_set
from sordino.evaluate.summary import means

__all__ = ["ALL", "FAST", "MEASURES", "evaluate_set", "means", "score"]
