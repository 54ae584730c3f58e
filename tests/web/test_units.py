"""The parts of `sordino-web` in Node, where there is one: users and CI need none."""

import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


def test_the_parts_of_the_package_are_tested_in_node():
    npm = shutil.which("npm")
    if npm is None or not (WEB / "node_modules").is_dir():
        pytest.skip("no Node, or `npm ci` was not run in web/")
    done = subprocess.run([npm, "test"], cwd=WEB, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
