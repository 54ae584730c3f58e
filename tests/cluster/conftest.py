"""Object storages, and one cluster of three nodes, for all tests that are marked `cluster`."""

import os
from contextlib import ExitStack

import pytest

from support import stores as servers


@pytest.fixture(scope="package")
def stores():
    """The schemes of object storages that run on loopback; the environment leads there."""
    before = dict(os.environ)
    with ExitStack() as running:
        settings = {
            scheme: running.enter_context(getattr(servers, scheme)())
            for scheme in ("s3", "gs", "az")
        }
        for each in settings.values():
            os.environ.update(each)
        try:
            yield {scheme for scheme, each in settings.items() if each}
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(scope="package")
def cluster(stores):
    from support.clusters import running_cluster

    with running_cluster(3) as running:
        yield running
