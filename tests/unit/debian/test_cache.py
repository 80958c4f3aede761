# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The cache: whole things only, one maker at a time, and nothing left by who was killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from errno import EACCES, ENOSPC
from pathlib import Path

import pytest

from pyvmm.debian.cache import Cache, cache_folder, sync
from pyvmm.debian.errors import DebianError


def silent(_: str) -> None:
    pass


def publish(cache: Cache, text: str, version: str) -> Path:
    with cache.staging() as staged:
        (staged / "file").write_text(text)
        return cache.publish(staged, "things", "thing", version)


def test_what_was_published_last_is_found_and_what_was_before_stays(cache: Cache) -> None:
    assert cache.find("things", "thing") is None
    with cache.locked(silent):
        first = publish(cache, "first", "1:1.0")
        assert ":" not in first.name
        assert cache.find("things", "thing") == first
        second = publish(cache, "second", "2")
    assert Cache().find("things", "thing") == second
    assert cache.find("things", "thing", "1:1.0") == first
    assert cache.find("things", "thing", "3") is None
    assert [(path / "file").read_text() for path in (first, second)] == ["first", "second"]


def test_other_file_systems_are_left_alone(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody else has to write, to a disk that hangs perhaps, is nothing to wait for."""
    monkeypatch.setattr(os, "sync", lambda: pytest.fail("all of the host's are written"))
    with cache.locked(silent):
        publish(cache, "first", "1")
    with pytest.raises(OSError, match="nowhere"):
        sync("/nowhere")


def test_a_version_that_is_there_is_kept(cache: Cache) -> None:
    with cache.locked(silent):
        publish(cache, "first", "1")
        again = publish(cache, "again", "1")
    assert (again / "file").read_text() == "first"


@pytest.mark.parametrize("file", ["file", "sizes"])
@pytest.mark.parametrize("damage", ["is empty", "is gone"])
def test_what_is_damaged_is_not_found_and_made_anew(cache: Cache, file: str, damage: str) -> None:
    with cache.locked(silent):
        place = publish(cache, "first", "1")
        (place / file).unlink()
        if damage == "is empty":
            (place / file).touch()
        assert cache.find("things", "thing") is None
        assert publish(cache, "again", "1") == place
        assert (place / "file").read_text() == "again"
        assert list(cache.folder.glob("staging/*")) == []
    assert cache.find("things", "thing", "1") == place


def test_folders_alone_are_whole(cache: Cache) -> None:
    with cache.locked(silent), cache.staging() as staged:
        (staged / "folder").mkdir()
        place = cache.publish(staged, "things", "thing", "1")
    assert cache.find("things", "thing") == place


def test_what_was_superseded_goes_when_nobody_uses_it_any_more(cache: Cache) -> None:
    with cache.locked(silent):
        places = [publish(cache, text, text) for text in ("unused", "used", "new", "newest")]
        unused, used, _, newest = places
        for place in (unused, used, newest):
            os.utime(place, (0, 0))
        assert cache.find("things", "thing", "used") == used
        publish(cache, "newest", "newest")
        assert [place.exists() for place in places] == [False, True, True, True]
        assert list(cache.folder.glob("staging/*")) == []
    assert cache.find("things", "thing") == newest
    assert (newest / "file").read_text() == "newest"


def test_some_kinds_go_sooner(cache: Cache) -> None:
    with cache.locked(silent), cache.staging() as staged:
        old, used = (publish(cache, text, text) for text in ("old", "used"))
        hour_ago = time.time() - 3600
        os.utime(old, (hour_ago, hour_ago))
        cache.publish(staged, "things", "thing", "new", unused=60)
    assert [old.exists(), used.exists()] == [False, True]


def test_another_names_things_stay(cache: Cache) -> None:
    with cache.locked(silent):
        other = publish(cache, "other", "1")
        (other.parent / "thing").rename(other.parent / "other")
        os.utime(other, (0, 0))
        publish(cache, "new", "2")
    assert other.exists()


def test_what_fails_half_way_leaves_nothing(cache: Cache) -> None:
    def fail() -> None:
        with cache.locked(silent), cache.staging() as staged:
            (staged / "file").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(cache.folder.glob("staging/*")) == []


def test_who_is_killed_leaves_no_lock_and_its_rubbish_goes(cache: Cache) -> None:
    script = """
import time
from pyvmm.debian.cache import Cache
cache = Cache()
with cache.locked(print), cache.staging() as staged:
    (staged / "file").write_text("half")
    print("made", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"made\n"
        maker.send_signal(signal.SIGKILL)
    assert list(cache.folder.glob("staging/*/file"))
    with cache.locked(silent):
        assert list(cache.folder.glob("staging/*")) == []


def test_a_second_one_says_that_it_waits_and_then_finds_what_the_first_made(cache: Cache) -> None:
    waiting = threading.Event()
    found: list[Path | None] = []

    def second() -> None:
        other = Cache()
        with other.locked(lambda _: waiting.set()):
            found.append(other.find("things", "thing"))

    thread = threading.Thread(target=second)
    with cache.locked(silent):
        thread.start()
        assert waiting.wait(60)
        place = publish(cache, "made", "1")
    thread.join(60)
    assert found == [place]


def test_a_child_that_outlives_its_parent_has_no_lock(cache: Cache) -> None:
    with cache.locked(silent):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    with child, (cache.folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(("number", "cure"), [(ENOSPC, "make room"), (EACCES, "XDG_CACHE_HOME")])
def test_a_file_system_that_refuses_is_told_with_a_cure(
    cache: Cache, number: int, cure: str
) -> None:
    with pytest.raises(DebianError) as failure, cache.locked(silent):
        raise OSError(number, os.strerror(number), "/some/file")
    assert "/some/file" in failure.value.cause
    assert cure in str(failure.value)


def test_a_folder_that_cant_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "cache")
    with pytest.raises(DebianError, match="ENOTDIR"), cache.locked(silent):
        pass


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder("lab") == "/home/somebody/.cache/pyvmm/lab"
    assert Cache().folder == Path("/home/somebody/.cache/pyvmm/debian")
