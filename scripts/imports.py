"""Print how the package is cut: modules, their length, and who imports whom.

    python scripts/imports.py

Doubled names are of files and of classes.  The picture of all imports is drawn by import-linter,
see docs/architecture.md.
"""

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1] / "src"
SMALL = 60  # lines


def module_name(path: Path) -> str:
    """Return the dotted name of a file below `ROOT`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(name: str, tree: ast.Module, modules: dict[str, Path]) -> Iterator[str]:
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


def main() -> None:
    """Print the figures."""
    modules = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
    trees = {name: ast.parse(path.read_text("utf-8")) for name, path in modules.items()}
    lines = [len(path.read_text("utf-8").splitlines()) for path in modules.values()]
    importers: dict[str, set[str]] = defaultdict(set)
    for name, tree in trees.items():
        for each in imported(name, tree, modules):
            importers[each].add(name)
    stems = Counter(p.stem for p in modules.values() if not p.stem.startswith("__"))
    classes = Counter(
        node.name for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef)
    )
    print(f"modules {len(modules)}, under {SMALL} lines {sum(n < SMALL for n in lines)}")
    print(f"lines {sum(lines)}, median {median(lines):g}, longest {max(lines)}")
    print(f"imports between modules {sum(map(len, importers.values()))}")
    alone = sorted(name for name, users in importers.items() if len(users) == 1)
    print(f"with exactly one importer {len(alone)}")
    if "--names" in sys.argv:
        print(*alone, sep="\n")
    for what, counted in (("file", stems), ("class", classes)):
        twice = [name for name, count in counted.items() if count > 1]
        print(f"{what} names that occur more than once {len(twice)}: {', '.join(sorted(twice))}")


if __name__ == "__main__":
    main()
