# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""load(): a YAML file as a VmConfig.

A file that has been loaded before, unchanged and with the same overrides, comes from the cache
(compiled.py): then neither the YAML parser nor msgspec is imported, which together take longer
than starting a VM. Hence the imports inside functions here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from stat import S_ISDIR, S_ISREG

from . import compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .errors import ConfigUnreadable
    from .schema import VmConfig

MAX_SIZE = 256 << 10
"""Bytes. Far beyond any config; what is larger was named by mistake."""


def load(path: str | os.PathLike[str], overrides: Mapping[str, object] | None = None) -> VmConfig:
    """The config in the file at path, changed by overrides: {"memory": "128M"}.

    Override keys may be dotted (``memory.backing``, ``devices[0].slot``); their text is read as
    YAML, and relative paths in them start from the current directory; those in the file start at
    the file's folder.

    The result has all attributes of a VmConfig and of its Memory and Devices, with values of the
    same types, and they are read-only. But it is no VmConfig to isinstance() and msgspec: whoever
    needs that, parses a dict. It equals other results of load(), if all attributes do.

    Raises ConfigError: one line that names the file, the line, the key, and what was expected.
    """
    name = os.fspath(path)
    source = _read(name)
    plain = compiled.lookup(name, source, overrides)
    if plain is None:
        plain = _parsed(name, source, overrides or {})
        compiled.store(name, source, plain, overrides)
    return compiled.as_config(plain)


def parse(data: Mapping[str, object], *, base: str | os.PathLike[str] = ".") -> VmConfig:
    """The config that data means: what a YAML file would hold, as a dict.

    Relative paths start from base. Raises ConfigInvalid.
    """
    from .check import check
    from .document import Document, Origin
    from .notation import written_out

    origin = Origin("", 0, os.path.abspath(base))
    return check(Document(written_out(dict(data)), {(): origin}))


def _parsed(path: str, source: bytes, overrides: Mapping[str, object]) -> dict[str, Any]:
    import msgspec

    from . import document
    from .check import check
    from .notation import written_out
    from .overrides import apply

    base, file = os.path.split(os.path.abspath(path))
    given = document.parse(_text(path, source), path, base)
    if given.data is None:
        raise _unreadable(path, "the file is empty: expected a config, such as `kernel: guest.elf`")
    apply(given, overrides)
    if isinstance(given.data, dict):
        given.data = {"name": os.path.splitext(file)[0][:64], **written_out(given.data)}
    plain: dict[str, Any] = msgspec.to_builtins(check(given))
    return plain


def _read(path: str) -> bytes:
    try:
        # Not blocking, for the sake of a FIFO nobody writes to; a regular file never blocks.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(path, _no_file(path, error)) from None
    except ValueError:
        raise _unreadable(repr(path), "no file can have this name") from None
    try:
        status = os.fstat(fd)
        if not S_ISREG(status.st_mode):
            what = "a directory" if S_ISDIR(status.st_mode) else "no regular file"
            raise _unreadable(path, f"expected a YAML file, got {what}")
        if status.st_size > MAX_SIZE:
            raise _unreadable(
                path, f"{status.st_size} bytes are too many for a config: at most {MAX_SIZE}"
            )
        return os.read(fd, MAX_SIZE)
    except OSError as error:
        raise _unreadable(path, "reading the config: read", cause=error) from None
    finally:
        os.close(fd)


def _no_file(path: str, error: OSError) -> str:
    import errno

    if error.errno == errno.ENOENT:
        return "no such file" + _instead(path)
    name = errno.errorcode.get(error.errno or 0, error.errno)
    return f"opening the config: open: {name} ({error.strerror})"


def _instead(path: str) -> str:
    """A config of a similar name, beside where it was looked for or in configs/."""
    import difflib

    folder, name = os.path.split(path)
    there: dict[str, str] = {}
    for place in ("configs", folder):
        with suppress(OSError):
            for file in os.listdir(place or "."):
                stem, extension = os.path.splitext(file)
                if extension in (".yaml", ".yml"):
                    there[stem] = os.path.join(place, file)
    near = difflib.get_close_matches(os.path.splitext(name)[0], there, n=1)
    return f"; did you mean {there[near[0]]}?" if near else "; check the path"


def _text(path: str, source: bytes) -> str:
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if source.startswith(b"\x7fELF"):
            raise _unreadable(
                path, f"expected a YAML file, got an ELF image; name it in one: `kernel: {path}`"
            ) from None
        raise _unreadable(
            path,
            f"not UTF-8: the byte {source[error.start]:#04x} at offset {error.start}",
            line=source.count(b"\n", 0, error.start) + 1,
        ) from None


def _unreadable(
    path: str, problem: str, *, line: int = 0, cause: OSError | None = None
) -> ConfigUnreadable:
    import errno

    from .errors import ConfigUnreadable

    if cause is not None:
        problem += f": {errno.errorcode.get(cause.errno or 0, cause.errno)} ({cause.strerror})"
    return ConfigUnreadable(problem, file=path, line=line)
