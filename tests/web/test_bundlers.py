"""The package `sordino-web` as others use it: real bundlers, other origins, strict policies."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from support.browsers import Visitor, missing
from support.sites import ISOLATION, FolderSite

pytestmark = [pytest.mark.tools, pytest.mark.browser]

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
SERVED = ROOT / "src" / "sordino" / "serve" / "page" / "sordino-web"
TOOLS = Path(__file__).parent / "bundlers"
DEADLINE = 300  # seconds, for whatever should take a moment

# As docs/how-to/browser.md has them: for files of one's own, and for everything else.
STRICT = "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'"
BLOBS = "script-src 'self' 'wasm-unsafe-eval' blob:; worker-src blob:; connect-src 'self'"

DOCUMENTED = (ROOT / "docs" / "how-to" / "browser.md").read_text()

# name -> command that builds example.js or index.html into out/, and the policy it works with
NODE_RESOLVE = f"{TOOLS}/node_modules/@rollup/plugin-node-resolve/dist/cjs/index.js"
BUILDS = {
    "webpack": ("webpack-cli/bin/cli.js ./example.js -o out --output-filename example.js", STRICT),
    "vite6": ("vite6/bin/vite.js build --outDir out", STRICT),
    "vite8": ("vite8/bin/vite.js build --outDir out", STRICT),
    "parcel": ("parcel/lib/bin.js build index.html --dist-dir out --no-cache", BLOBS),
    "esbuild": ("esbuild/bin/esbuild example.js --bundle --outfile=out/example.js", BLOBS),
    "esbuild-split": (
        "esbuild/bin/esbuild example.js --bundle --splitting --format=esm --outdir=out",
        BLOBS,
    ),
    "rollup": (f"rollup/dist/bin/rollup -i example.js -d out -p {NODE_RESOLVE}", BLOBS),
}


def run(command: list[str], folder: Path) -> None:
    """Run a program of Node; show its output if it fails."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def install(folder: Path) -> None:
    """Run `npm ci`, unless it was run for this lock file."""
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / ".lock"
    if stamp.is_file() and stamp.read_text() == lock:
        return
    run(["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"], folder)
    stamp.write_text(lock)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """Build `sordino-web`, pack it as for the registry, and give the unpacked folder."""
    if shutil.which("npm") is None:
        missing("no npm: install Node 20 or newer")
    install(WEB)
    install(TOOLS)
    folder = tmp_path_factory.mktemp("package")
    run(["node", "build.mjs", "--dist-only"], WEB / "sordino-web")
    run(["npm", "pack", "--pack-destination", str(folder)], WEB / "sordino-web")
    with tarfile.open(next(folder.glob("*.tgz"))) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package"


@pytest.fixture
def project(package, tmp_path) -> Path:
    """Make the project of somebody who uses the package, with the example's two files."""
    modules = tmp_path / "node_modules"
    modules.mkdir()
    for each in (TOOLS / "node_modules").iterdir():
        if not each.name.startswith("."):
            (modules / each.name).symlink_to(each)
    shutil.copytree(package, modules / "sordino-web")
    example = (package / "example" / "example.js").read_text()
    assert '"../dist/index.js"' in example
    (tmp_path / "example.js").write_text(example.replace("../dist/index.js", "sordino-web"))
    shutil.copy(package / "example" / "index.html", tmp_path)
    (tmp_path / "package.json").write_text('{"name": "app", "private": true, "type": "module"}')
    return tmp_path


@pytest.fixture(scope="module")
def speaker(chromium):
    """Start a Chromium with the microphone that it brings, which beeps."""
    return chromium()


def assert_example_runs(speaker, url: str) -> None:
    """Press the example's button; the engine must run and nothing may be logged."""
    with Visitor(speaker, url) as visitor:
        visitor.page.click("#start")
        visitor.page.locator("#state", has_not_text="not started").wait_for()
        assert "of a processor" in visitor.page.inner_text("#state"), visitor.errors


def built(project: Path, command: str) -> Path:
    """Build the project and give the folder to serve."""
    program, *options = command.split()
    out = project / "out"
    native = [] if "esbuild" in program else ["node"]
    run([*native, str(TOOLS / "node_modules" / program), *options], project)
    if not (out / "index.html").exists():
        shutil.copy(project / "index.html", out)
    return out


@pytest.mark.parametrize("tool", BUILDS)
def test_a_bundler_builds_and_runs_the_example(project, speaker, tool):
    command, policy = BUILDS[tool]
    assert policy in DOCUMENTED
    out = built(project, command)
    with FolderSite(out, {"Content-Security-Policy": allow_import_map(policy, out)}) as site:
        assert_example_runs(speaker, site.url)


def allow_import_map(policy: str, out: Path) -> str:
    """Add the hash of the import map that Parcel writes into the page, as documented."""
    page = (out / "index.html").read_text()
    found = re.search(r"<script type=importmap>(.*?)</script>", page)
    if not found:
        return policy
    digest = b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    return policy.replace("script-src", f"script-src 'sha256-{digest}'")


@contextmanager
def development_server(project: Path, tool: str):
    """Run Vite's development server; yield its address."""
    with FolderSite(project) as site:
        port = site.url.rpartition(":")[2]  # free once the site has gone
    vite = TOOLS / "node_modules" / tool / "bin" / "vite.js"
    command = ["node", str(vite), "--host", "127.0.0.1", "--port", port, "--strictPort"]
    environment = os.environ | {"BROWSER": "none", "NO_COLOR": "1"}  # CI colours addresses
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            assert server.stdout
            line = next((line for line in server.stdout if f":{port}" in line), None)
            assert line is not None, "the server has ended"
            url = f"http://127.0.0.1:{port}/"
            urlopen(url, timeout=DEADLINE).close()
            yield url
        finally:
            server.kill()


@pytest.mark.parametrize("tool", ["vite6", "vite8"])
def test_a_development_server_runs_the_example(project, speaker, tool):
    with development_server(project, tool) as url:
        assert_example_runs(speaker, url)


def test_the_example_runs_as_it_is(package, speaker):
    with FolderSite(package, {"Content-Security-Policy": STRICT}) as site:
        assert_example_runs(speaker, f"{site.url}/example/")


@pytest.mark.parametrize("isolated", [False, True], ids=["plain", "isolated"])
def test_the_package_comes_from_another_origin(package, speaker, tmp_path, isolated):
    with FolderSite(package / "dist", {"Access-Control-Allow-Origin": "*"}) as cdn:
        example = (package / "example" / "example.js").read_text()
        (tmp_path / "example.js").write_text(
            example.replace("../dist/index.js", f"{cdn.url}/index.js")
        )
        shutil.copy(package / "example" / "index.html", tmp_path)
        policy = (
            f"script-src 'self' 'wasm-unsafe-eval' blob: {cdn.url}; worker-src blob:; "
            f"connect-src {cdn.url}"
        )
        headers = {"Content-Security-Policy": policy} | (ISOLATION if isolated else {})
        with FolderSite(tmp_path, headers) as site:
            assert_example_runs(speaker, site.url)
            assert not {path for path in site.requested if "worker" in path}


def test_files_lie_where_the_options_say(project, package, speaker):
    """Bundled by esbuild, without blob: addresses, the files copied by hand."""
    options = ", ".join(
        f'{name}Url: "files/{file}"'
        for name, file in (("worker", "w.js"), ("worklet", "t.js"), ("wasm", "r.gz"))
    )
    example = (project / "example.js").read_text()
    call = "{ strength: strength.valueAsNumber }"
    assert call in example
    mine = f'{{ strength: strength.valueAsNumber, {options}, model: "files/m.onnx" }}'
    (project / "example.js").write_text(example.replace(call, mine))
    out = built(project, BUILDS["esbuild"][0])
    (out / "files").mkdir()
    names = {"worker.js": "w.js", "worklet.js": "t.js", "ort.wasm.gz": "r.gz"}
    for name, copy in (names | {"default.onnx": "m.onnx"}).items():
        shutil.copy(package / "dist" / name, out / "files" / copy)
    with FolderSite(out, {"Content-Security-Policy": STRICT}) as site:
        assert_example_runs(speaker, site.url)
        fetched = {path for path in site.requested if path.startswith("/files/")}
        assert fetched == {"/files/w.js", "/files/t.js", "/files/r.gz", "/files/m.onnx"}


def test_the_files_of_the_server_are_those_that_are_built(package):
    for built_file in SERVED.glob("*.*"):
        assert built_file.read_bytes() == (package / "dist" / built_file.name).read_bytes()
