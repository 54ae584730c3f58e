"""A miniature VoiceBank+DEMAND, fetched from a server and prepared once for all tests."""

from pathlib import Path

import pytest

from sordino.errors import SordinoError
from support import corpora
from support.corpora import sordino_data as sordino
from support.downloads import DownloadSite

NAME = "voicebank-demand"


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """A folder with the fetched and prepared corpus, its test half too."""
    home = tmp_path_factory.mktemp("voicebank")
    corpora.voicebank_demand(home / "site")
    corpora.only_these(NAME, home / "site", home / "registry.toml")
    common = ["--folder", home / "data", "--registry", home / "registry.toml"]
    with DownloadSite(home / "site") as site:
        with pytest.raises(SordinoError, match="--accept-licence"):
            sordino("fetch", NAME, "--mirror", site.url, *common)
        assert site.requests == []
        shown = sordino("fetch", NAME, "--mirror", site.url, "--accept-licence", *common)
        assert "CC BY 4.0" in shown
        assert not any("testset" in path for path, _ in site.requests)
        sordino("fetch", NAME, "--part", "test", "--mirror", site.url, "--accept-licence", *common)
    sordino("prepare", NAME, "--jobs", 2, *common)
    return home
