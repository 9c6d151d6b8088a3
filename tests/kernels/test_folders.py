"""Folders of runs are weighed and removed, whatever lies in them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from runbooks_app.kernels.folders import LEAST, remove, weigh

pytestmark = pytest.mark.kernels


def total(folder, open_in=()):
    return max(weigh(str(folder), open_in), default=0)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "run"
    made.mkdir()
    return made


@pytest.fixture
def deep(folder):
    """A folder in a folder, three thousand times, with a file at the bottom; no path of the system is that long.

    It is removed again: pytest's own clearing up of earlier runs would end with a RecursionError in somebody's test.
    """
    here = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with os.fdopen(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as file:
        file.write(b"x" * 100_000)
    os.close(here)
    yield folder
    remove(folder)


def test_every_file_weighs_what_it_takes_on_disk_and_at_least_something(folder):
    (folder / "empty").touch()
    (folder / "inner").mkdir()
    (folder / "inner" / "large").write_bytes(b"x" * 1_000_000)
    with (folder / "sparse").open("wb") as sparse:
        sparse.truncate(10**12)
    assert 1_000_000 + 3 * LEAST <= total(folder) < 1_100_000


def test_a_file_with_many_names_counts_once(folder):
    (folder / "one").write_bytes(b"x" * 1_000_000)
    for number in range(20):
        os.link(folder / "one", folder / str(number))
    assert total(folder) < 1_100_000


def test_what_a_link_points_to_is_not_weighed(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "large").write_bytes(b"x" * 1_000_000)
    (folder / "link").symlink_to(tmp_path / "other")
    (folder / "all").symlink_to("/")
    assert total(folder) == 2 * LEAST


def test_a_file_that_is_only_open_any_more_counts_too(folder):
    with (folder / "gone").open("wb") as held:
        held.write(b"x" * 1_000_000)
        held.flush()
        (folder / "gone").unlink()
        assert total(folder) == 0
        assert 1_000_000 <= total(folder, [os.getpid()]) < 10_000_000


def test_a_folder_without_an_end_is_weighed_to_its_end(deep):
    assert total(deep) >= 3000 * LEAST + 100_000


def test_a_folder_without_an_end_is_removed(deep):
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    assert remove(deep)
    assert not deep.exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_links_are_removed_and_not_followed(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "kept").write_text("kept")
    for name in ("a", "b"):
        (folder / name).symlink_to(tmp_path / "other")
    (folder / "c").mkdir()
    (folder / "c" / "up").symlink_to("..")
    assert remove(folder)
    assert (tmp_path / "other" / "kept").read_text() == "kept"


def test_a_link_in_the_place_of_a_run_is_left_alone(folder, tmp_path):
    (folder / "kept").write_text("kept")
    (tmp_path / "link").symlink_to(folder)
    assert not remove(tmp_path / "link")
    assert (folder / "kept").exists()


def test_a_folder_that_is_not_there_is_gone(tmp_path):
    assert remove(tmp_path / "nothing")


def test_weighing_bears_that_names_change_meanwhile(folder):
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            (folder / "a").mkdir()
            (folder / "a" / "f").touch()
            (folder / "a").rename(folder / "b")
            (folder / "b" / "f").unlink()
            (folder / "b").rmdir()

    churning = threading.Thread(target=churn)
    churning.start()
    for _ in range(300):
        assert total(folder) <= 3 * LEAST
    stop.set()
    churning.join()
