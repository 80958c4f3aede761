# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A made-up kernel in a cache of the test's own, and a busybox that lists a few programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyvmm.debian.cache import Cache
from pyvmm.debian.names import BUSYBOX
from tests.unit.debian.conftest import cache, kernel, package, program
from tests.unit.debian.made_up import silent

__all__ = ["busybox", "cache", "kernel", "package", "program"]

LISTS_APPLETS = "#!/bin/sh\nfor name in sh busybox mount poweroff reboot; do echo $name; done\n"


def publish_busybox(cache: Cache, text: str = LISTS_APPLETS, version: str = "1") -> Path:
    """The program; hold the cache's lock."""
    with cache.staging() as staged:
        (staged / "busybox").write_text(text)
        (staged / "busybox").chmod(0o755)
        return cache.publish(staged, BUSYBOX, BUSYBOX, version) / "busybox"


@pytest.fixture
def busybox(cache: Cache) -> Path:
    """Its folder."""
    with cache.locked(silent):
        return publish_busybox(cache).parent
