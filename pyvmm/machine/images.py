# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The files that a machine boots from, where a config doesn't name them as such."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyvmm.config import VmConfig


def are_files(config: VmConfig) -> bool:
    """Whether a config's kernel and initrd are files already, or firmware is in their place."""
    return not any(in_cache(config))


def in_cache(config: VmConfig) -> tuple[bool, bool]:
    """Whether its kernel and its initrd are, or will be, in the cache, where nothing stays."""
    made = config.initrd is not None and config.initrd.file is None
    return (config.kernel or "").startswith("debian:"), made


def find_images(config: VmConfig, notice: Callable[[str], None]) -> tuple[str | None, str | None]:
    """The paths of kernel and initrd. Raises DebianError, LinuxError.

    What isn't in the cache is fetched and made; then notice is told of each step.
    """
    if are_files(config):
        return config.kernel, config.initrd.file if config.initrd else None
    from pyvmm.debian.progress import steps
    from pyvmm.linux.images import prepare

    return prepare(config, steps(notice))
