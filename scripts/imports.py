"""Print how the package is cut: modules, their length, and who imports whom.

    python scripts/imports.py                     figures
    python scripts/imports.py --names             and the modules with exactly one importer
    python scripts/imports.py --svg imports.svg   and a picture of all imports between packages

Doubled names are of files and of classes.  In the picture every arrow points down, and an import
that others imply is left out: what imports `denoiser` reaches `errors` through it.
"""

import argparse
import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import mean, median

ROOT = Path(__file__).parents[1] / "src"
SMALL = 60  # lines
WIDTH, HEIGHT = 130, 74  # of a place in the picture, pixels
BOX = 110, 26

Graph = Mapping[str, set[str]]  # module or package -> what it imports


def module_name(path: Path) -> str:
    """Return the dotted name of a file below `ROOT`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(name: str, tree: ast.Module, modules: Mapping[str, Path]) -> Iterator[str]:
    """Give the modules of the package that one imports, at its head or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [each if each in modules else node.module for each in full]
        else:
            continue
        yield from (each for each in found if each in modules and each != name)


def packages(graph: Graph) -> Graph:
    """Return the imports between packages; the modules of `voice` lie in several layers."""

    def package(module: str) -> str:
        name = module.removeprefix("sordino.")
        return name if name.startswith("voice.") else name.partition(".")[0]

    found: dict[str, set[str]] = defaultdict(set)
    for name, targets in graph.items():
        if name != "sordino":
            found[package(name)] |= {package(each) for each in targets} - {package(name), "sordino"}
    return found


def draw(graph: Graph) -> str:
    """Return a graph without cycles as SVG: each box is below all that import it."""
    order = list(TopologicalSorter(graph).static_order())  # what is imported comes first
    below: dict[str, set[str]] = {}
    arrows: list[tuple[str, str]] = []
    for name in order:
        implied: set[str] = set().union(*(below[each] for each in graph[name]))
        below[name] = implied | graph[name]
        arrows += [(name, each) for each in sorted(graph[name] - implied)]
    row = dict.fromkeys(order, 0)
    for name in reversed(order):
        for each in graph[name]:
            row[each] = max(row[each], row[name] + 1)
    x: dict[str, float] = {}
    for number in range(max(row.values()) + 1):
        # Each stands near what imports it.
        above = {
            name: mean([x[a] for a, b in arrows if b == name] or [0])
            for name in order
            if row[name] == number
        }
        for place, name in enumerate(sorted(above, key=lambda name: (above[name], name))):
            x[name] = (place - (len(above) - 1) / 2) * WIDTH
    left, bottom = min(x.values()) - WIDTH / 2, (max(row.values()) + 1) * HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:g} 0 {-2 * left:g} {bottom:g}" '
        'style="background:white" font-family="sans-serif" font-size="13" text-anchor="middle">',
        '<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 8 4 0 8z" fill="#567"/></marker>',
    ]
    for name, target in arrows:
        start, end = row[name] * HEIGHT + BOX[1], row[target] * HEIGHT
        half = (start + end) / 2
        lines.append(
            f'<path d="M{x[name]:g} {start} C{x[name]:g} {half} {x[target]:g} {half} '
            f'{x[target]:g} {end}" fill="none" stroke="#567" stroke-opacity=".6" '
            f'marker-end="url(#arrow)"><title>{name} imports {target}</title></path>'
        )
    for name in order:
        top = row[name] * HEIGHT
        lines.append(
            f'<rect x="{x[name] - BOX[0] / 2:g}" y="{top}" width="{BOX[0]}" height="{BOX[1]}" '
            f'rx="5" fill="#eef3f8" stroke="#567"/>'
            f'<text x="{x[name]:g}" y="{top + 17}">{name}</text>'
        )
    return "\n".join([*lines, "</svg>"])


def main() -> None:
    """Print the figures, and draw the picture where one is wanted."""
    parser = argparse.ArgumentParser(description="Print how the package is cut.")
    parser.add_argument("--names", action="store_true", help="name what has one importer only")
    parser.add_argument("--svg", type=Path, help="draw the imports between packages")
    options = parser.parse_args()
    modules = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
    trees = {name: ast.parse(path.read_text("utf-8")) for name, path in modules.items()}
    lines = [len(path.read_text("utf-8").splitlines()) for path in modules.values()]
    graph = {name: set(imported(name, tree, modules)) for name, tree in trees.items()}
    importers = Counter(each for targets in graph.values() for each in targets)
    stems = Counter(p.stem for p in modules.values() if not p.stem.startswith("__"))
    classes = Counter(
        node.name for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef)
    )
    print(f"modules {len(modules)}, under {SMALL} lines {sum(n < SMALL for n in lines)}")
    print(f"lines {sum(lines)}, median {median(lines):g}, longest {max(lines)}")
    print(f"imports between modules {importers.total()}")
    alone = sorted(name for name, count in importers.items() if count == 1)
    print(f"with exactly one importer {len(alone)}")
    if options.names:
        print(*alone, sep="\n")
    for what, counted in (("file", stems), ("class", classes)):
        twice = [name for name, count in counted.items() if count > 1]
        print(f"{what} names that occur more than once {len(twice)}: {', '.join(sorted(twice))}")
    if options.svg:
        options.svg.write_text(draw(packages(graph)), "utf-8")


if __name__ == "__main__":
    main()
