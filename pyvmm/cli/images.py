# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a VM boots from, fetched before the VM is built, or before its lab starts."""

from __future__ import annotations

from pyvmm.linux import images

from .progress import progress
from .signals import StopSignals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.config import VmConfig


def fetch_images(config: VmConfig) -> None:
    """Have in the cache what isn't a file yet; tells of it if it takes its time.

    Raises DebianError, LinuxError.
    """
    with StopSignals(), progress() as tell:
        images.prepare(config, tell)
