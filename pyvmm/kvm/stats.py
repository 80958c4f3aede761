# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Stats: KVM's binary statistics of a VM or a vCPU, by name.

Source: the kernel's Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD.
"""

from __future__ import annotations

import os
from errno import ENOTTY
from struct import Struct

from ..uapi import kvm as uapi
from .errors import KvmCallFailed, KvmError, call

TYPE_CHECKING = False
if TYPE_CHECKING:
    # A counter or gauge, or the buckets of a histogram.
    Value = int | tuple[int, ...]

_HEADER = Struct("=IIIIII")  # kvm_stats_header
_DESCRIPTOR = Struct("=IhHII")  # kvm_stats_desc, without the name


class Stats:
    """The statistics file of one VM or vCPU. A context manager."""

    def __init__(self, owner_fd: int, owner: str) -> None:
        """Open the statistics of the VM or vCPU owner_fd. Raises KvmCallFailed, KvmError."""
        self._owner = owner
        self._fd = call(
            owner_fd,
            uapi.KVM_GET_STATS_FD,
            doing=f"opening the statistics of {owner}",
            cures={ENOTTY: "binary statistics came with Linux 5.14"},
        )
        try:
            self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        _flags, name_size, count, _id, descriptors_at, self._data_at = _HEADER.unpack(
            self._pread(_HEADER.size, 0)
        )
        stride = _DESCRIPTOR.size + name_size
        table = self._pread(stride * count, descriptors_at)
        # name -> where in the data, of how many 64-bit numbers
        self._fields: dict[str, tuple[int, int]] = {}
        self._data_size = 0
        for at in range(0, len(table), stride):
            _flags, _exponent, size, offset, _bucket = _DESCRIPTOR.unpack_from(table, at)
            name = table[at + _DESCRIPTOR.size : at + stride].split(b"\0")[0].decode("ascii")
            self._fields[name] = (offset, size)
            self._data_size = max(self._data_size, offset + 8 * size)

    def _pread(self, size: int, offset: int) -> bytes:
        try:
            data = os.pread(self._fd, size, offset)
        except OSError as error:
            doing = f"reading the statistics of {self._owner}"
            raise KvmCallFailed(doing, "pread", error.errno or 0) from None
        if len(data) != size:
            raise KvmError(f"the statistics of {self._owner} end before they should")
        return data

    def __enter__(self) -> Stats:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def read(self) -> dict[str, Value]:
        """All values as they are now: a number, or a tuple for a histogram's buckets."""
        words = memoryview(self._pread(self._data_size, self._data_at)).cast("Q")
        return {
            name: words[at // 8] if size == 1 else tuple(words[at // 8 : at // 8 + size])
            for name, (at, size) in self._fields.items()
        }
