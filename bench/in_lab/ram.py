# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kinds of memory that guest RAM can be made of, as each contender calls them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pyvmm.memory import PRIVATE, SHARED, THP
from pyvmm.memory.backing import HUGETLB_2M

from ..errors import BenchError

_MM = Path("/sys/kernel/mm")
_HUGE = 2 << 20


class Kind(NamedTuple):
    title: str
    backing: str
    """pyvmm's, as a memfd"""
    in_config: str
    """What a config has as memory.backing: as pyvmm gives it to guests"""
    in_c: str
    in_qemu: str
    """Its -object, without size and id"""
    thp: str = "never"
    """The kernel's policy about transparent huge pages in shared memory"""
    hugetlb: bool = False

    def prepare(self, size: int) -> None:
        """Have the kernel give so many bytes of it. Raises BenchError."""
        (_MM / "transparent_hugepage/shmem_enabled").write_text(self.thp)
        pool = _MM / "hugepages/hugepages-2048kB/nr_hugepages"
        pages = size // _HUGE if self.hugetlb else 0
        pool.write_text(str(pages))
        if int(pool.read_text()) < pages:
            raise BenchError(f"the lab has no {pages} huge pages: its memory is too small")


_MEMFD = "memory-backend-memfd"
KINDS = (
    Kind("pages of 4 KiB", SHARED, SHARED, "small", _MEMFD),
    # QEMU doesn't align a memfd for them, and makes use of them in private memory alone.
    Kind("transparent huge pages", THP, PRIVATE, "thp", "memory-backend-ram", "advise"),
    Kind("hugetlb", HUGETLB_2M, HUGETLB_2M, "hugetlb", f"{_MEMFD},hugetlb=on", hugetlb=True),
)
