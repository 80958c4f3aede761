# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Packages from the system's own Debian mirror: the real apt, the real signatures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyvmm.debian import apt as apt_module
from pyvmm.debian.apt import Apt, require_apt, unpack
from pyvmm.debian.errors import DebianError, Unreachable
from pyvmm.debian.kernel_packages import look_up_kernel
from pyvmm.debian.names import KERNELS
from pyvmm.debian.sources import find_mirror

if TYPE_CHECKING:
    from pathlib import Path

    from pyvmm.debian.cache import Cache


KERNEL = "6.12"
META_PACKAGE, _ = KERNELS[KERNEL]


def silent(_: str) -> None:
    pass


@pytest.fixture(autouse=True)
def _can_fetch() -> None:
    try:
        require_apt()
        find_mirror()
    except DebianError as error:
        pytest.skip(f"nothing can be fetched here: {error}")


def test_a_package_is_found_fetched_and_unpacked(cache: Cache, tmp_path: Path) -> None:
    told: list[str] = []
    with cache.locked(silent):
        try:
            apt, release, version = look_up_kernel(cache, KERNEL, told.append)
            (package,) = apt.download([META_PACKAGE], tmp_path, told.append)
        except Unreachable as error:
            pytest.skip(f"the mirror can't be reached: {error}")
        assert release.startswith(f"{KERNEL}.")
        assert release.endswith("-amd64")
        assert version.startswith(f"{KERNEL}.")
        assert package.name.startswith(f"{META_PACKAGE}_")
        unpack([package], tmp_path)
    assert os.path.lexists(tmp_path / "usr/share/doc" / META_PACKAGE)
    assert told[0].startswith("reading what Debian's ")


def test_a_signature_by_nobody_we_know_is_refused(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = tmp_path / "empty.gpg"
    keyring.write_bytes(b"")
    monkeypatch.setattr(apt_module, "KEYRINGS", (keyring,))
    with cache.locked(silent), pytest.raises(DebianError) as failure:
        Apt(cache, ["trixie-backports"]).show(META_PACKAGE, silent)
    if isinstance(failure.value, Unreachable):
        pytest.skip(f"the mirror can't be reached: {failure.value}")
    assert "keyring" in failure.value.cure
