"""One S3 server and one cluster of three nodes for all tests that are marked `cluster`."""

import os

import pytest


@pytest.fixture(scope="package")
def s3():
    """An S3-compatible server on loopback; the environment leads every process to it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield boto3.client("s3", endpoint_url=settings["AWS_ENDPOINT_URL"])
    finally:
        server.stop()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="package")
def cluster(s3):
    from support.clusters import running_cluster

    with running_cluster(3) as running:
        yield running
