# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kernel out of a bzImage, in all compressions, whole and damaged."""

from __future__ import annotations

import bz2
import ctypes
import gzip
import lzma
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.debian.decompress import decompress
from pyvmm.debian.errors import DebianError
from pyvmm.debian.vmlinux import extract_vmlinux

if TYPE_CHECKING:
    from collections.abc import Callable

VMLINUX = b"\x7fELF" + bytes(range(256)) * 33_000  # more than a block of LZ4
SIZE = struct.pack("<I", len(VMLINUX))  # what the kernel's build appends


def zstd(data: bytes) -> bytes:
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compress.restype = ctypes.c_size_t
    packed = ctypes.create_string_buffer(len(data) + 1024)
    sizes = ctypes.c_size_t(len(packed)), ctypes.c_size_t(len(data))
    size = library.ZSTD_compress(packed, sizes[0], data, sizes[1], 1)
    return packed.raw[:size]


def lz4(data: bytes) -> bytes:
    library = ctypes.CDLL("liblz4.so.1")
    packed = ctypes.create_string_buffer((8 << 20) + (1 << 16))
    contents = b"\x02\x21\x4c\x18"
    for start in range(0, len(data), 8 << 20):
        block = data[start : start + (8 << 20)]
        size = library.LZ4_compress_default(block, packed, len(block), len(packed))
        contents += struct.pack("<I", size) + packed.raw[:size]
    return contents


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE, preset=0),
    "zstd": zstd,
    "lz4": lz4,
    "none": bytes,
}


@pytest.fixture(scope="module", params=COMPRESSIONS)
def payload(request: pytest.FixtureRequest) -> bytes:
    return COMPRESSIONS[request.param](VMLINUX)


def bzimage(
    payload: bytes, *, sectors: int = 27, offset: int = 0x2D0, version: int = 0x20F
) -> bytes:
    setup = bytearray(((sectors or 4) + 1) * 512)
    setup[0x1F1] = sectors
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    struct.pack_into("<II", setup, 0x248, offset, len(payload))
    return bytes(setup) + b"\xcc" * offset + payload + b"what comes after"


def test_every_compression(payload: bytes) -> None:
    assert extract_vmlinux(bzimage(payload + SIZE), "vmlinuz") == VMLINUX + (
        SIZE if payload == VMLINUX else b""
    )


def test_no_setup_sectors_means_four() -> None:
    assert extract_vmlinux(bzimage(VMLINUX, sectors=0), "vmlinuz") == VMLINUX


def test_a_payload_that_is_cut_off_is_told(payload: bytes) -> None:
    if payload != VMLINUX:
        with pytest.raises(DebianError, match="payload of vmlinuz: its end is missing"):
            extract_vmlinux(bzimage(payload[: len(payload) // 2]), "vmlinuz")


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (b"", "no bzImage"),
        (bytes(8192), "no bzImage"),
        (bzimage(VMLINUX, version=0x207), "0x0207"),
        (bzimage(VMLINUX)[:-100], "cut off"),
        (bzimage(b""), "cut off"),
        (bzimage(b"nothing"), "6e6f7468"),
        (bzimage(gzip.compress(b"nothing")), "no ELF"),
    ],
)
def test_what_is_no_kernel_is_told(image: bytes, told: str) -> None:
    with pytest.raises(DebianError, match=told) as failure:
        extract_vmlinux(image, "vmlinuz")
    assert failure.value.cure


@given(
    compression=st.sampled_from(sorted(COMPRESSIONS)),
    at=st.integers(0, 399),
    damage=st.integers(1, 255),
    cut=st.integers(0, 400),
)
def test_damage_raises_nothing_else(compression: str, at: int, damage: int, cut: int) -> None:
    packed = bytearray(COMPRESSIONS[compression](b"\x7fELF" + b"some contents" * 20))
    packed[at % len(packed)] ^= damage
    with suppress(DebianError):
        extract_vmlinux(bzimage(bytes(packed[: len(packed) - cut])), "vmlinuz")


def test_what_is_not_compressed_stays_as_it_is() -> None:
    assert decompress(b"plain", "it") == b"plain"
    assert decompress(b"", "it") == b""
