"""What every HTTP request must pass: Host, Origin, rate, token, size; and what answers carry."""

import json
import time
from contextlib import suppress

import httpx
import pytest

from sordino.serve import server as server_module
from support.served import DEADLINE, TOKEN, serving


@pytest.fixture(scope="module")
def served():
    with serving(origins=("https://meet.example.org",)) as running:
        yield running


@pytest.fixture(scope="module")
def locked():
    with serving(token=TOKEN) as running:
        yield running


def get(served, path, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"{served.http}{path}", headers=named, timeout=DEADLINE)


def test_answers_carry_safe_headers(served):
    for path in ("/", "/docs", "/v1/models", "/nothing", "/v1/nothing", "/openapi.json"):
        headers = get(served, path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy.replace("wasm-unsafe-eval", "")
        assert "script-src 'self'" in policy
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers
    assert get(served, "/v1/models").headers["cache-control"] == "no-store"


def test_pages_load_nothing_from_elsewhere(served):
    for path in ("/", "/docs"):
        text = get(served, path).text
        assert "https://" not in text.replace("https://github.com", "")


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/assets/..%2f..%2f..%2fapp.py",
        "/docs/assets/..%2f..%2f..%2f..%2fpyvenv.cfg",
        "/%2e%2e/app.py",
        "//etc/passwd",
        "/v1/models/../../app.py",
    ],
)
def test_paths_lead_nowhere_else(served, path):
    with served.connect() as sock:  # a client library would tidy the path
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        sock.sendall(request.encode())
        answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    assert answer.split(b" ")[1] in (b"404", b"405", b"307")
    assert b"root:" not in answer
    assert b"create_app" not in answer


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://meet.example.org.evil.example", "file://", "x", ""],
)
def test_pages_from_elsewhere_are_refused(served, origin):
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/denoise"), ("OPTIONS", "/v1/models")):
        answer = httpx.request(method, f"{served.http}{path}", headers={"Origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin")
        assert "access-control-allow-origin" not in answer.headers


def test_the_own_page_and_allowed_ones_may(served):
    assert get(served, "/v1/models", Origin=served.http).status_code == 200
    answer = get(served, "/v1/models", Origin="https://meet.example.org")
    assert answer.headers["access-control-allow-origin"] == "https://meet.example.org"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    asked = httpx.options(
        f"{served.http}/v1/denoise",
        headers={
            "Origin": "https://meet.example.org",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert asked.status_code == 200
    assert "access-control-allow-credentials" not in asked.headers


def test_names_that_were_bound_to_this_machine_are_refused(served):
    for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1.evil.example", "0"):
        answer = get(served, "/v1/models", Host=host)
        assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host")
    for host in ("localhost", f"LOCALHOST:{served.port}", "[::1]:80", "127.0.0.1"):
        assert get(served, "/v1/models", Host=host).status_code == 200
    with serving(host_names=("studio.local",)) as named:
        assert get(named, "/", Host="studio.local:8765").status_code == 200


def test_the_token(locked):
    for path in ("/v1/models", "/metrics", "/v1/nothing"):
        for wrong in ({}, {"Authorization": TOKEN}, {"Authorization": "Bearer x"}):
            answer = get(locked, path, **wrong)
            assert (answer.status_code, answer.json()["code"]) in (
                (401, "unauthorized"),
                (429, "too_many_requests"),
            )
    for path in ("/", "/healthz", "/docs", "/openapi.json"):
        assert get(locked, path).status_code == 200
    assert locked.metric("sordino_refused_total", code="unauthorized") == 9


def test_guessing_is_slow():
    with serving(token=TOKEN, failures_per_minute=3) as served:
        codes = [get(served, "/v1/models", Authorization="Bearer x").status_code for _ in range(5)]
        assert codes == [401, 401, 401, 429, 429]
        wrong = get(served, "/v1/models", Authorization="Bearer y")
        assert wrong.status_code == 429
        assert int(wrong.headers["Retry-After"]) > 0


@pytest.mark.slow
def test_right_tokens_are_no_failures():
    with serving(token=TOKEN, failures_per_minute=2) as served:
        for _ in range(6):
            answer = get(served, "/v1/models", Authorization=f"bearer {TOKEN}")
            assert answer.status_code == 200


@pytest.mark.slow
def test_rate_limit():
    with serving(requests_per_second=0.5, request_burst=3) as served:
        codes = [get(served, "/v1/models").status_code for _ in range(5)]
        assert codes[:3] == [200, 200, 200]
        assert 429 in codes[3:]
        assert get(served, "/healthz").status_code == 200


def test_bodies_of_other_routes_are_small(served):
    answer = httpx.post(f"{served.http}/v1/models", content=bytes(2 << 20))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_errors_have_one_shape(served):
    for path, status in (("/v1/nothing", 404), ("/v1/denoise", 405)):
        answer = get(served, path)
        assert answer.status_code == status
        assert answer.json().keys() == {"code", "message"}


ALLOWED = {"Origin": "https://meet.example.org"}


@pytest.mark.slow
def test_refusals_tell_allowed_pages_what_is_wrong():
    """Without CORS headers a page only learns that its request failed."""
    with serving(
        origins=("https://meet.example.org",), token=TOKEN, failures_per_minute=1
    ) as served:
        right = {**ALLOWED, "Authorization": f"Bearer {TOKEN}"}
        url = f"{served.http}/v1/denoise"
        answers = [
            httpx.get(f"{served.http}/v1/models", headers=ALLOWED),
            httpx.get(f"{served.http}/v1/models", headers=ALLOWED),
            httpx.post(f"{served.http}/v1/models", headers=right, content=bytes(2 << 20)),
            httpx.get(f"{served.http}/v1/nothing", headers=right),
            httpx.post(url, headers={**right, "Content-Encoding": "gzip"}, content=b"x"),
            httpx.post(url, headers=right, params={"format": "exe"}, content=b"x"),
        ]
    assert [each.status_code for each in answers] == [401, 429, 413, 404, 415, 400]
    for each in answers:
        assert each.headers["access-control-allow-origin"] == "https://meet.example.org"
        assert each.headers["cross-origin-resource-policy"] == "cross-origin"
        assert each.json().keys() == {"code", "message"}
    assert "Retry-After" in answers[1].headers["access-control-expose-headers"]


def test_even_a_mistake_of_the_server_is_json_for_allowed_pages(monkeypatch):
    def fail(_):
        raise RuntimeError

    monkeypatch.setattr("sordino.serve.app.load_model", fail)
    with serving(origins=("https://meet.example.org",)) as served:
        answer = httpx.get(f"{served.http}/v1/models", headers=ALLOWED)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["access-control-allow-origin"] == "https://meet.example.org"


def test_preflights_allow_what_whip_clients_send(served):
    for method, header in (("PATCH", "if-match"), ("POST", "authorization, content-type")):
        answer = httpx.options(
            f"{served.http}/v1/webrtc/sessions/any",
            headers={
                **ALLOWED,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": header,
            },
        )
        assert answer.status_code == 200
        assert header in answer.headers["access-control-allow-headers"]
        assert method in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    "path",
    [
        "/", "/docs", "/openapi.json", "/healthz", "/metrics", "/v1/models",
        "/v1/models/default/weights", "/examples/office_48k.flac",
    ],
)  # fmt: skip
def test_head_is_get_without_the_body(served, path):
    whole, head = (
        httpx.request(method, f"{served.http}{path}", timeout=DEADLINE)
        for method in ("GET", "HEAD")
    )
    assert head.status_code == whole.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length", "etag"):
        assert path == "/metrics" or head.headers.get(name) == whole.headers.get(name)


def test_options_says_what_a_path_takes(served):
    for path, methods in [
        ("/v1/denoise", "OPTIONS, POST"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/webrtc", "OPTIONS, POST"),
        ("/v1/webrtc/rooms/stage/whip", "OPTIONS, POST"),
        ("/v1/webrtc/sessions/any", "DELETE, OPTIONS, PATCH"),
    ]:
        answer = httpx.options(f"{served.http}{path}")
        assert (answer.status_code, answer.headers["allow"]) == (204, methods)
    answer = httpx.put(f"{served.http}/v1/models")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    answer = httpx.options(f"{served.http}/v1/webrtc")
    assert answer.headers["accept-post"] == "application/sdp"


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "identity, gzip"])
def test_compressed_bodies_are_refused_by_name(served, coding):
    headers = {"Content-Encoding": coding}
    answer = httpx.post(f"{served.http}/v1/denoise", content=b"x", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")
    assert coding.lower() in answer.json()["message"]
    assert answer.headers["accept-encoding"] == "identity"


def test_a_token_of_any_characters_is_just_a_wrong_one(locked):
    for token in ("\xff\xfe", "\u00e4" * 20):
        headers = {"Authorization": f"Bearer {token}".encode("latin-1")}
        answer = httpx.get(f"{locked.http}/v1/models", headers=headers)
        assert answer.json()["code"] in ("unauthorized", "too_many_requests")


@pytest.mark.slow
def test_half_a_request_is_not_waited_for(served, monkeypatch):
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT", 0.3)
    for beginning in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "):
        with served.connect() as sock:
            sock.sendall(beginning)
            begin = time.monotonic()
            with suppress(ConnectionResetError):
                assert sock.recv(4096) == b""
            assert time.monotonic() - begin < DEADLINE / 2


def test_one_connection_too_many_is_refused_as_all_else(served, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 0)
    answer = get(served, "/healthz")
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"]
    monkeypatch.undo()
    assert get(served, "/healthz").status_code == 200


def test_garbage_instead_of_http(served):
    with served.connect() as sock:
        sock.sendall(b"\x16\x03\x01" + bytes(range(256)) * 20)
        answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert json.loads(body)["code"] == "bad_request"
    with served.connect() as sock:  # a header without an end
        sock.sendall(b"GET / HTTP/1.1\r\nX: ")
        with suppress(OSError):
            for _ in range(300):
                sock.sendall(b"x" * 1000)
    assert get(served, "/healthz").status_code == 200
