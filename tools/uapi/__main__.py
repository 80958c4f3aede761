# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The command `python -m tools.uapi`: generate pyvmm/uapi, check it, or move the pin."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.uapi.headers import HeaderError
from tools.uapi.modules import FOLDER, generate
from tools.uapi.package import PackageError, Pin, include_folder, newest


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 the committed files differ (--check), 2 could not do it."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.uapi",
        description="Generate pyvmm/uapi from the kernel headers of a pinned Debian package.",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file would change"
    )
    action.add_argument(
        "--repin", action="store_true", help="move the pin to the newest package first"
    )
    parser.add_argument(
        "--deb", type=Path, metavar="FILE", help="the pinned package's file, if apt can't fetch it"
    )
    arguments = parser.parse_args(argv)
    if arguments.deb and not arguments.deb.is_file():
        parser.error(f"{arguments.deb} is no file")
    try:
        pin = Pin.load()
        if arguments.repin:
            pin = newest(pin.package)
        files = generate(include_folder(pin, arguments.deb), f"{pin.package} {pin.version}")
    except (PackageError, HeaderError) as error:
        print(f"tools.uapi: {error}", file=sys.stderr)
        return 2
    changed = [name for name, text in files.items() if _current(FOLDER / name) != text]
    for name in changed:
        print(f"{FOLDER / name}: {'not what the headers say' if arguments.check else 'written'}")
        if not arguments.check:
            (FOLDER / name).write_text(files[name])
    if arguments.repin:
        pin.store()
    return 1 if arguments.check and changed else 0


def _current(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
