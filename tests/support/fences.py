"""Code that stands in the documentation, to be run."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def fenced(page, language):
    """Return the blocks of a page, such as "how-to/webrtc", in a language."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(code):
    """Run a block of Python; return its names."""
    names = {}
    exec(compile(code, "<documentation>", "exec"), names)
    return names
