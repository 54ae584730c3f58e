"""Object storages on loopback: servers that speak as S3, Google Cloud Storage and Azure do."""

import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

AZURITE = Path(sys.prefix) / "azurite" / "node_modules" / ".bin" / "azurite-blob"
_AZURE_ACCOUNT = "devstoreaccount1"  # Azurite's own, with its published key
_AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@contextmanager
def s3():
    """Serve s3://; give the environment that leads there."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.stop()


@contextmanager
def gs():
    """Serve gs://; give the environment that leads there."""
    from gcp_storage_emulator.server import create_server

    port = _free_port()
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    try:
        yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
    finally:
        server.stop()


@contextmanager
def az():
    """Serve az://; give the environment that leads there, or nothing if Azurite is not there."""
    program = AZURITE if AZURITE.exists() else shutil.which("azurite-blob")
    if program is None:
        yield {}
        return
    port = _free_port()
    options = ("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")
    process = subprocess.Popen(
        [program, "--blobPort", str(port), *options], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        while "successfully listens" not in (line := process.stdout.readline()):
            assert line, "Azurite ended before it was ready"
        yield {
            "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=http;"
            f"AccountName={_AZURE_ACCOUNT};AccountKey={_AZURE_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{_AZURE_ACCOUNT};"
        }
    finally:
        process.terminate()
        process.wait()


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
