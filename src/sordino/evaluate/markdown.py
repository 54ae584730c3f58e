"""Tables in Markdown."""

import re
from collections.abc import Iterable, Sequence

NUMBER = re.compile(r"[-–\d.*±→ to]*")  # an interval and a change too


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a table; columns of numbers stand right, those that are empty are left out.

    >>> print(table(["", "dB", "why"], [["a", "1.5 ±0.2", ""], ["b", "**12.0**", ""]]))
    |  | dB |
    | --- | --: |
    | a | 1.5 ±0.2 |
    | b | **12.0** |
    """
    rows = list(body)
    keep = [i for i in range(len(head)) if i == 0 or any(row[i] for row in rows)]
    right = [i and all(NUMBER.fullmatch(row[i]) for row in rows) for i in keep]
    rule = ["--:" if each else "---" for each in right]
    lines = [[head[i] for i in keep], rule, *([row[i] for i in keep] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
