"""Artifacts by content: in a folder, and in a bucket of a real S3 server."""

from __future__ import annotations

import hashlib
import threading

import pytest

from runbooks_app.core.errors import NotFound, Unavailable
from runbooks_app.store.artifacts import Artifacts


@pytest.fixture
def bucket(monkeypatch):
    """A bucket on an S3 server that listens on loopback."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket="runbooks")
    yield "s3://runbooks/artifacts"
    server.stop()


@pytest.fixture
def folder(tmp_path):
    return f"file://{tmp_path}/artifacts"


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    return Artifacts(request.getfixturevalue(request.param), tmp_path)


def test_what_is_put_is_got_by_its_digest_also_twice(store):
    address = store.put(b"outputs")
    assert address == hashlib.sha256(b"outputs").hexdigest()
    assert store.put(b"outputs") == address
    assert store.get(address) == b"outputs"


def test_a_file_is_stored_and_read_in_pieces(store, tmp_path):
    content = bytes(range(256)) * 9000
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb", buffering=0) as file:
        address = store.put_file(file)
    assert address == hashlib.sha256(content).hexdigest()
    pieces = list(store.pieces(address))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) < 300_000


def test_the_end_of_an_altered_artifact_is_not_read(tmp_path, folder):
    store = Artifacts(folder, tmp_path)
    address = store.put(b"x" * 600_000)
    (tmp_path / "artifacts" / address[:2] / address).write_bytes(b"x" * 599_999 + b"y")
    read = []
    with pytest.raises(NotFound, match="altered"):
        read.extend(iter(store.pieces(address)))
    assert sum(map(len, read)) < 600_000


def test_many_writers_of_the_same_content_do_not_disturb_each_other(store):
    content = b"x" * 300_000
    writers = [threading.Thread(target=store.put, args=(content,)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert store.get(hashlib.sha256(content).hexdigest()) == content


@pytest.mark.parametrize("address", ["0" * 64, "../../etc/passwd", "", "A" * 64])
def test_an_unknown_or_malformed_address_is_not_found(store, address):
    with pytest.raises(NotFound):
        store.get(address)


def test_an_altered_artifact_is_not_shown(tmp_path, folder):
    store = Artifacts(folder, tmp_path)
    address = store.put(b"true")
    (tmp_path / "artifacts" / address[:2] / address).write_bytes(b"false")
    with pytest.raises(NotFound, match="altered"):
        store.get(address)


def test_a_full_or_closed_folder_is_told(tmp_path):
    (tmp_path / "artifacts").write_text("a file where the folder should be")
    with pytest.raises(Unavailable, match="took no output"):
        Artifacts("file://artifacts", tmp_path).put(b"x")


def test_a_bucket_that_is_away_is_told(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = Artifacts(bucket, tmp_path)
    with pytest.raises(Unavailable):
        store.put(b"x")
    with pytest.raises(Unavailable):
        store.get("0" * 64)
