"""The HTTP routes do what their OpenAPI description says, asked by schemathesis."""

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.served import serving

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@pytest.fixture(scope="module")
def served():
    with serving(max_streams=0, stall_seconds=2) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/models"), ("GET", "/healthz"), ("GET", "/metrics"), ("POST", "/v1/denoise")],
)
def test_routes_keep_their_promises(served, method, path):
    description = schemathesis.openapi.from_url(f"{served.http}/openapi.json")

    @hypothesis.settings(max_examples=6, deadline=None, derandomize=True, database=None)
    @hypothesis.given(case=description[path][method].as_strategy())
    def ask(case):
        case.call_and_validate(checks=CHECKS)

    ask()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/denoise")])
def test_what_breaks_the_description_is_refused(served, method, path):
    description = schemathesis.openapi.from_url(f"{served.http}/openapi.json")
    wrong = description[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @hypothesis.settings(max_examples=15, deadline=None, derandomize=True, database=None)
    @hypothesis.given(case=wrong)
    def ask(case):
        answer = case.call()
        case.validate_response(answer, checks=(not_a_server_error, response_schema_conformance))

    ask()


def test_wrong_methods_are_told_so(served):
    for path in ("/v1/models", "/healthz", "/metrics"):
        assert httpx.delete(f"{served.http}{path}").status_code == 405
    assert httpx.get(f"{served.http}/v1/denoise").status_code == 405
