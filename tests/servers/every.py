# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""All dialects, for tests that take each."""

from __future__ import annotations

from tests.servers.dialect import Dialect
from tests.servers.libvfio_user import LibvfioUser, LibvfioUserByMessage
from tests.servers.oldest import Oldest
from tests.servers.qemu import Qemu
from tests.servers.rust_vmm import RustVmm
from tests.servers.spdk import Spdk

DIALECTS: tuple[type[Dialect], ...] = (
    Oldest,
    LibvfioUser,
    LibvfioUserByMessage,
    Qemu,
    RustVmm,
    Spdk,
)
