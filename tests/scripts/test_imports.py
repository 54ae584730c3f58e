"""The figures and the picture of the package's imports."""

import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

SCRIPT = Path(__file__).parents[2] / "scripts" / "imports.py"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_command_prints_figures_and_draws_all_packages(tmp_path):
    command = [sys.executable, SCRIPT, "--svg", tmp_path / "imports.svg"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "with exactly one importer" in printed
    picture = ElementTree.parse(tmp_path / "imports.svg")
    assert {"cli", "denoiser", "train", "voice.stream"} <= {
        text.text for text in picture.iter(f"{SVG}text")
    }
    assert "batch imports denoiser" in {title.text for title in picture.iter(f"{SVG}title")}


def test_arrows_point_down_and_implied_ones_are_left_out():
    script = runpy.run_path(str(SCRIPT))
    graph = {
        "sordino.a": {"sordino.b", "sordino.c.x"},
        "sordino.b": {"sordino.c"},
        "sordino.c": set(),
    }
    packages = script["packages"](graph)
    assert packages == {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    picture = ElementTree.fromstring(script["draw"](packages))
    arrows = {title.text for title in picture.iter(f"{SVG}title")}
    assert arrows == {"a imports b", "b imports c"}
    heights = {
        text.text: float(box.get("y"))
        for box, text in zip(picture.iter(f"{SVG}rect"), picture.iter(f"{SVG}text"), strict=True)
    }
    assert heights["a"] < heights["b"] < heights["c"]
