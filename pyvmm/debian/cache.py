# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What came from Debian and was made of it, in the user's cache: whole things, which never change.

    lock                     held while anything is being made
    staging/                 what is being made; found there without the lock held, it is rubbish
    kernels-1/6.12             a symbolic link to the newest one that was made:
    kernels-1/6.12-VERSION/    its files, and `sizes`, which tells how large each is

A thing is made in staging and takes its place by rename(2), so that whoever is killed meanwhile
leaves nothing half-made in it. It is on the disk by then, so that a loss of power doesn't either;
what is not of its size all the same is not found, and made anew. Processes that use things hold no
lock, for these stay: a lab sees its modules, and QEMU its firmware, as long as it runs. What
another version has taken the place of goes when nobody has looked for it for a month, or less of
its kind: its time of change is when somebody did. VMs keep what they boot from open.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .progress import Progress


def cache_folder(part: str) -> str:
    """A part of what pyvmm keeps of the user's, by the XDG base directory specification."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # the specification has it ignored then
        cache = os.path.expanduser("~/.cache")
    return os.path.join(cache, "pyvmm", part)


_MONTH = 30 * 24 * 3600.0  # seconds

# The file in each folder that tells its others' sizes. Those in folders of its own are left out:
# looking at all of a kernel's modules takes time, and each start of a Linux guest goes this way.
_SIZES = "sizes"


class Cache:
    """Finds what is there; to make something, hold the lock: `with cache.locked(progress):`.

    All that finding takes is quick to import.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = os.fspath(folder or cache_folder("debian"))

    @property
    def folder(self) -> Path:
        from pathlib import Path

        return Path(self._folder)

    def locate(self, kind: str, name: str, version: str = "") -> str | None:
        """The folder that was published as name, if it is whole: of a version, or the last one."""
        kinds = os.path.join(self._folder, kind)
        if version:
            place = os.path.join(kinds, _versioned(name, version))
        else:
            try:
                place = os.path.join(kinds, os.readlink(os.path.join(kinds, name)))
            except OSError:
                return None
        if not _is_whole(place):
            return None
        with suppress(OSError):  # somebody else's, to be read only
            os.utime(place)
        return place

    def find(self, kind: str, name: str, version: str = "") -> Path | None:
        """The same as locate(), as a Path."""
        from pathlib import Path

        place = self.locate(kind, name, version)
        return None if place is None else Path(place)

    @contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Hold the lock; wait for it if another process is at work. Raises DebianError."""
        import fcntl
        import shutil

        with _told(f"preparing the cache in {self.folder}"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # No child has it: who waits for the lock is not to wait for what a killed one leaves.
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    progress("waiting for another process that fetches or makes something")
                    fcntl.flock(lock, fcntl.LOCK_EX)
                shutil.rmtree(self.folder / "staging", ignore_errors=True)
                (self.folder / "staging").mkdir(exist_ok=True)
                yield
            finally:
                os.close(lock)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A new folder to make something in; gone at the end, unless it was published."""
        import shutil
        import tempfile
        from pathlib import Path

        folder = Path(tempfile.mkdtemp(dir=self.folder / "staging"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(
        self, made: Path, kind: str, name: str, version: str, *, unused: float = _MONTH
    ) -> Path:
        """Put the folder in its place, and let name mean it from now on. Returns the place.

        Of the same kind, those go that no name means any more, and that nobody has looked for in
        so many seconds.
        """
        place = self.folder / kind / _versioned(name, version)
        place.parent.mkdir(exist_ok=True)
        if not _is_whole(str(place)):
            (made / _SIZES).write_text(_sizes(str(made)))
            made.chmod(0o755)
            sync(self._folder)
            with suppress(FileNotFoundError):  # what has been damaged
                self._take_away(place)
            made.rename(place)
        link = self.folder / "staging" / f"{name}.link"
        link.symlink_to(place.name)
        link.rename(place.parent / name)
        self._sweep(place.parent, unused)
        return place

    def _sweep(self, kind: Path, unused: float) -> None:
        entries = list(kind.iterdir())
        meant = {os.readlink(entry) for entry in entries if entry.is_symlink()}
        for entry in entries:
            if entry.is_symlink() or entry.name in meant:
                continue
            if time.time() - entry.stat().st_mtime > unused:
                self._take_away(entry)

    def _take_away(self, place: Path) -> None:
        import shutil

        # First out of where it could be found, half of it.
        gone = place.rename(self.folder / "staging" / f"{place.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)


def sync(folder: str) -> None:
    """Have the file system of a folder on its disk, and no other: that may be slow, or hang.

    Raises OSError.
    """
    import ctypes

    syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if syncfs(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(fd)


def _sizes(folder: str) -> str:
    files = [entry for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]
    lines = [f"{entry.stat().st_size} {entry.name}" for entry in files]
    return "\n".join([f"{len(files)} files", *sorted(lines)])


def _is_whole(folder: str) -> bool:
    try:
        with open(os.path.join(folder, _SIZES)) as sizes:
            count, *lines = sizes.read().split("\n")
        if count != f"{len(lines)} files":
            return False
        for line in lines:
            size, _, name = line.partition(" ")
            if os.stat(os.path.join(folder, name)).st_size != int(size):
                return False
    except (OSError, ValueError):
        return False
    return True


def _versioned(name: str, version: str) -> str:
    return f"{name}-{place_name(version)}"


def place_name(version: str) -> str:
    """A version as part of a folder's name: an epoch's colon would part search paths."""
    return version.replace(":", "_")


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """An OSError that gets this far is about the cache's file system."""
    try:
        yield
    except OSError as error:
        from pyvmm.uapi.ioctl import failure

        from .errors import DebianError

        cure = "set XDG_CACHE_HOME to a folder that you can write"
        if error.errno in (ENOSPC, EDQUOT):
            cure = "make room (a kernel takes up to 500 MiB), or set XDG_CACHE_HOME to where it is"
        path = f" ({error.filename})" if error.filename else ""
        told = failure(f"{doing}{path}", "file access", error.errno or 0, cure)
        raise DebianError(told) from None
