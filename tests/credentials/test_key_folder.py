"""The folder of private keys: nobody else's, whole files alone, one worker at a time."""

from __future__ import annotations

import os
import threading

import pytest
from joserfc.jwk import ECKey, RSAKey

from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.core.run_identity import thumbprint
from runbooks_app.credentials import key_folder
from runbooks_app.credentials.key_folder import KeyFolder

pytestmark = pytest.mark.identity


@pytest.fixture
def folder(tmp_path):
    return KeyFolder(tmp_path / "keys")


def made(folder):
    """A key in it; its file."""
    with folder.locked():
        folder.make()
    (path,) = folder.path.glob("*.pem")
    return path


def refused(folder):
    with pytest.raises(Misconfigured) as told, folder.locked():
        folder.keys()
    return str(told.value)


def test_a_key_is_made_for_its_owner_alone_whatever_the_umask(folder):
    before = os.umask(0)
    try:
        path = made(folder)
    finally:
        os.umask(before)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert (folder.path / ".lock").stat().st_mode & 0o777 == 0o600
    with folder.locked():
        ((name, key),) = folder.keys().items()
    assert name == path.stem == thumbprint(key.as_dict(private=False))
    assert key.private_key.key_size == 2048
    assert {entry.name for entry in folder.path.iterdir()} == {".lock", path.name}


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701, 0o710])
def test_a_folder_that_is_open_to_others_is_refused_with_the_mend(folder, mode):
    made(folder)
    folder.path.chmod(mode)
    told = refused(folder)
    assert "is open to others, who may have the keys" in told
    assert "chmod 700" in told


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_may_read_is_not_used(folder, mode):
    path = made(folder)
    path.chmod(mode)
    told = refused(folder)
    assert path.name in told
    assert "is open to others" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_belongs_to_somebody_else_is_not_used(folder):
    path = made(folder)
    os.chown(path, 60_000, 60_000)
    assert "belongs to another user" in refused(folder)
    path.unlink()
    os.chown(folder.path, 60_000, 60_000)
    assert "belongs to another user" in refused(folder)


def private(key):
    return key.as_pem(private=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"half of a k",
        private(RSAKey.generate_key(2048))[:900],
        private(ECKey.generate_key("P-256")),
        RSAKey.generate_key(2048).as_pem(private=False),
        private(RSAKey.generate_key(2048)),  # somebody else's, under this name
    ],
    ids=["empty", "garbage", "cut off", "another kind", "public half", "another key"],
)
def test_a_file_that_holds_no_key_of_this_name_is_named_and_never_quoted(folder, content):
    path = made(folder)
    path.write_bytes(content)
    told = refused(folder)
    assert f"{path.name}: holds no" in told
    assert "Remove it" in told
    assert "BEGIN" not in told
    assert content[40:80].decode() not in told or len(content) < 80


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_small_key_is_not_used(folder):
    small = RSAKey.generate_key(1024)
    made(folder).unlink()
    path = folder.path / f"{thumbprint(small.as_dict(private=False))}.pem"
    path.touch(mode=0o600)
    path.write_bytes(private(small))
    assert "holds no private key of 2048 bits" in refused(folder)


def test_links_pipes_and_folders_are_not_followed(folder, tmp_path):
    path = made(folder)
    elsewhere = tmp_path / path.name
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert "cannot be read" in refused(folder)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert "is no file" in refused(folder)
    path.unlink()
    path.mkdir()
    assert "is no file" in refused(folder)
    path.rmdir()
    link = tmp_path / "link"
    link.symlink_to(folder.path)
    assert "is no folder" in refused(KeyFolder(link))


def test_what_a_worker_left_half_written_is_no_key_and_is_cleared_away(folder):
    path = made(folder)
    half = folder.path / ".new-0123"
    half.write_bytes(path.read_bytes()[:500])
    with folder.locked():
        assert list(folder.keys()) == [path.stem]
        folder.make()
        assert len(folder.keys()) == 2
    assert not half.exists()


def test_a_folder_that_cannot_be_made_or_is_a_file_is_told(tmp_path):
    assert "No such file" in refused(KeyFolder(tmp_path / "not" / "there"))
    (tmp_path / "file").touch()
    assert "cannot be used" in refused(KeyFolder(tmp_path / "file"))


def test_a_full_disk_is_told_and_leaves_no_key(folder, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(key_folder.os, "fsync", full)
    with pytest.raises(Misconfigured, match="No space left on device"), folder.locked():
        folder.make()
    monkeypatch.undo()
    with folder.locked():
        assert folder.keys() == {}


def test_removing_a_key_twice_is_fine(folder):
    path = made(folder)
    with folder.locked():
        folder.remove(path.stem)
        folder.remove(path.stem)
        assert folder.keys() == {}


def test_one_worker_at_a_time_and_one_that_hangs_is_told(folder, monkeypatch):
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with folder.locked():
            entered.set()
            leave.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(20)
    monkeypatch.setattr(key_folder, "PATIENCE", 0.1)
    with pytest.raises(Unavailable, match=r"holds .*\.lock"), folder.locked():
        pass
    leave.set()
    holder.join()
    with folder.locked():
        pass
