"""Behind a reverse proxy with a path prefix: what the server says itself, and a real nginx."""

import re
import socket
import subprocess
from contextlib import contextmanager
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest

from sordino.errors import SordinoError
from sordino.serve.client import connect
from sordino.serve.settings import ServerSettings
from support.served import DEADLINE, serving, speech, wait_until

NGINX = """
daemon off; pid {folder}/pid; error_log stderr warn; events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 1g;
        location /sordino/ {{
            proxy_pass http://127.0.0.1:{upstream}{strip};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            {prefix}
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}
}}
"""


@contextmanager
def nginx(folder, served, strip, prefix):
    """Run nginx in front of a server; yield the address behind which it stands."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    text = NGINX.format(folder=folder, port=port, upstream=served.port, strip=strip, prefix=prefix)
    config.write_text(text)
    process = subprocess.Popen(["nginx", "-c", config, "-p", folder], stderr=subprocess.PIPE)

    def is_listening():
        assert process.poll() is None, process.stderr.read()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(is_listening)
        yield f"127.0.0.1:{port}/sordino"
    finally:
        process.terminate()
        process.communicate()


SAID = "proxy_set_header X-Forwarded-Prefix /sordino;"


@pytest.mark.tools
@pytest.mark.parametrize(
    ("strip", "prefix", "root_path"),
    [("/", SAID, ""), ("/", "", "/sordino"), ("", SAID, ""), ("", "", "/sordino")],
    ids=["stripped, said", "stripped, option", "passed on, said", "passed on, option"],
)
def test_all_of_it_works_behind_nginx(tmp_path, strip, prefix, root_path):
    sound, rate = speech(seconds=0.5)
    with serving(root_path=root_path) as served, nginx(tmp_path, served, strip, prefix) as place:
        check_pages(f"http://{place}/")
        levels = np.rint(sound * 32767).astype("<i2").tobytes()
        answer = httpx.post(
            f"http://{place}/v1/denoise?raw_rate={rate}", content=levels, timeout=DEADLINE
        )
        assert answer.status_code == 200
        with connect(f"ws://{place}", rate) as stream:
            clean = np.concatenate([stream.process(sound), stream.flush()])
        assert clean.shape == sound.shape


def check_pages(base):
    """Load the page, /docs and all that they name; follow a redirect."""
    for path in ("", "docs"):
        page = httpx.get(urljoin(base, path), follow_redirects=True, timeout=DEADLINE)
        assert page.status_code == 200
        named = re.findall(r"""(?:src|href|url)(?:=|: )["']([^"'#]+)["']""", page.text)
        local = [urljoin(str(page.url), name) for name in named if "://" not in name]
        assert len(local) >= 3
        for url in local:
            assert url.startswith(base), url
            assert httpx.get(url, timeout=DEADLINE).status_code == 200, url
    described = httpx.get(urljoin(base, "openapi.json")).json()
    assert "/sordino" in [each["url"] for each in described["servers"]]
    moved = httpx.get(urljoin(base, "v1/models/"))
    assert moved.status_code == 307
    assert moved.headers["location"] == urljoin(base, "v1/models")
    assert httpx.get(urljoin(base, "v1/nothing")).json()["code"] == "not_found"


@pytest.mark.slow
def test_a_prefix_is_only_believed_of_a_trusted_proxy():
    said = {"X-Forwarded-Prefix": "/elsewhere"}
    with serving(trusted_proxies=("10.0.0.1",)) as served:
        assert "/elsewhere" not in httpx.get(f"{served.http}/docs", headers=said).text
    with serving() as served:
        assert "/elsewhere/openapi.json" in httpx.get(f"{served.http}/docs", headers=said).text
        for wrong in ('/"><script>', "//evil.example", "evil", "/a b", "/"):
            page = httpx.get(f"{served.http}/docs", headers={"X-Forwarded-Prefix": wrong}).text
            assert "url: '/openapi.json'" in page


def test_rules_hold_behind_a_prefix():
    with serving(root_path="/sordino", token="a-token-that-nobody-guesses") as served:
        for path in ("/v1/models", "/sordino/v1/models", "/sordino/metrics"):
            assert httpx.get(f"{served.http}{path}").status_code == 401
        for path in ("/healthz", "/sordino/healthz", "/sordino/"):
            assert httpx.get(f"{served.http}{path}").status_code == 200
        moved = httpx.get(f"{served.http}/sordino")
        assert moved.headers["location"].endswith("/sordino/")


@pytest.mark.parametrize("path", ["sordino", "/sordino/", "/", "/a b", "//x", "/x?y"])
def test_a_root_path_is_one(path):
    with pytest.raises(SordinoError, match="root path"):
        ServerSettings(root_path=path)
