"""Public functions that take arrays say what shape these have."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src" / "sordino"
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
ARRAY = re.compile(r"\b(NDArray|ndarray|ArrayLike|Tensor|Array|FloatArray|ComplexArray)\b")
# Types that have one shape each: stated where they are defined.
KNOWN = re.compile(r"\b(Mono|Interleaved|Planar|Spectra|Power|Levels|Colours)\b")
SHAPE = re.compile(r"\bshape|\((B|T|N|samples|channels|batch|bins|frames|rows)\b", re.IGNORECASE)


def functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, FUNCTIONS]]:
    """Give the name and the node of each public function and method."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            # The methods of a protocol are documented where they are implemented.
            if "Protocol" not in map(ast.unparse, node.bases):
                yield from functions(node.body, f"{node.name}.")
        elif isinstance(node, FUNCTIONS) and not node.name.startswith("_"):
            yield prefix + node.name, node


def lacking(source: str) -> list[str]:
    """Name the functions in a source that take arrays and do not say what shape they have."""
    found: list[str] = []
    for name, node in functions(ast.parse(source).body):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        types = " ".join(ast.unparse(a.annotation) for a in arguments if a.annotation)
        text = ast.get_docstring(node) or ""
        if ARRAY.search(types) and not KNOWN.search(types) and not SHAPE.search(text):
            found.append(name)
    return found


def test_a_function_without_a_shape_is_found() -> None:
    assert lacking("class A:\n    def f(self, x: NDArray[float]):\n        '''Of x.'''") == ["A.f"]
    assert not lacking("def f(x: NDArray[float]):\n    '''Of x, shape = (N,).'''")
    assert not lacking("def f(x: Mono):\n    '''Of x.'''")


@pytest.mark.slow
def test_functions_that_take_arrays_say_their_shape() -> None:
    found = {
        path.relative_to(SOURCES).as_posix(): names
        for path in SOURCES.rglob("*.py")
        if (names := lacking(path.read_text(encoding="utf-8")))
    }
    assert not found
