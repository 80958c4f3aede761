# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""struct vfio_region_info and its capabilities: the layout, and every way to corrupt it."""

from __future__ import annotations

import contextlib
import ctypes
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.uapi import vfio as uapi
from pyvmm.vfio import InfoCapability, Interval, ProtocolError, RegionInfo
from pyvmm.vfio.region_info import INFO, build, parse

RW = uapi.VFIO_REGION_INFO_FLAG_READ | uapi.VFIO_REGION_INFO_FLAG_WRITE
MMAP = uapi.VFIO_REGION_INFO_FLAG_MMAP
CAPS = uapi.VFIO_REGION_INFO_FLAG_CAPS


def raw(flags: int, cap_offset: int, chain: bytes, size: int = 0x10000) -> bytes:
    return INFO.pack(INFO.size + len(chain), flags, 3, cap_offset, size, 0x30000) + chain


def header(id: int, next: int, body: bytes = b"") -> bytes:
    return struct.pack("=HHI", id, 1, next) + body


def sparse(*areas: tuple[int, int], count: int | None = None) -> bytes:
    body = struct.pack("=II", len(areas) if count is None else count, 0)
    return body + b"".join(struct.pack("=QQ", *area) for area in areas)


def test_the_layout_is_the_kernels() -> None:
    assert ctypes.sizeof(uapi.vfio_region_info) == INFO.size
    data = raw(RW, 0, b"")
    info = uapi.vfio_region_info.from_buffer_copy(data)
    assert (info.argsz, info.flags, info.index) == (32, RW, 3)
    assert (info.size, info.offset) == (0x10000, 0x30000)
    assert parse(data) == RegionInfo(3, RW, 0x10000, 0x30000)


def test_without_a_sparse_capability_all_can_be_mapped() -> None:
    assert parse(raw(RW | MMAP, 0, b"")).areas == (Interval(0, 0x10000),)
    assert parse(raw(RW | MMAP, 0, b"", size=0)).areas == ()


def test_capabilities_of_every_kind_in_any_order() -> None:
    type_at, msix_at, sparse_at, other_at = 32, 32 + 16, 32 + 16 + 8, 32 + 16 + 8 + 48
    chain = header(uapi.VFIO_REGION_INFO_CAP_TYPE, 0, struct.pack("=II", 0x80008086, 2))
    chain += header(uapi.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, type_at)
    areas = sparse((0x4000, 0x1000), (0x5000, 0x1000))
    chain += header(uapi.VFIO_REGION_INFO_CAP_SPARSE_MMAP, other_at, areas)
    chain += header(0x7777, msix_at, b"unknown!")
    info = parse(raw(RW | MMAP | CAPS, sparse_at, chain))
    assert info.areas == (Interval(0x4000, 0x6000),)
    assert info.msix_mappable
    assert info.type == (0x80008086, 2)
    assert [c.id for c in info.capabilities] == [1, 0x7777, 3, 2]
    assert info.capability(0x7777) == InfoCapability(0x7777, 1, b"unknown!")
    assert info.capability(0x7778) is None


def test_sparse_areas_without_mmap_are_no_areas() -> None:
    chain = header(uapi.VFIO_REGION_INFO_CAP_SPARSE_MMAP, 0, sparse((0, 0x1000)))
    assert parse(raw(RW | CAPS, 32, chain)).areas == ()


SPARSE = uapi.VFIO_REGION_INFO_CAP_SPARSE_MMAP


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (raw(RW, 0, b"")[:31], "31 bytes"),
        (raw(RW | CAPS, 32, header(5, 32)), "loops"),
        (raw(RW | CAPS, 32, header(5, 40) + header(5, 32)), "loops"),
        (raw(RW | CAPS, 32, header(5, 0xFFFFFFFF)), "outside"),
        (raw(RW | CAPS, 8, header(5, 0)), "outside"),
        (raw(RW | CAPS, 36, header(5, 0)), "outside"),
        (raw(RW | CAPS, 32, header(uapi.VFIO_REGION_INFO_CAP_TYPE, 0)), "type capability"),
        (raw(MMAP | CAPS, 32, header(SPARSE, 0)), "sparse areas"),
        (raw(MMAP | CAPS, 32, header(SPARSE, 0, sparse((0, 4096), count=2))), "sparse areas"),
        (raw(MMAP | CAPS, 32, header(SPARSE, 0, sparse(count=0xFFFFFFFF))), "sparse areas"),
        (raw(MMAP | CAPS, 32, header(SPARSE, 0, sparse((0xF000, 0x2000)))), "outside its"),
        (raw(MMAP | CAPS, 32, header(SPARSE, 0, sparse(*[(0, 4096)] * 257))), "more than 256"),
        (raw(MMAP | CAPS, 32, header(SPARSE, 0, sparse((4096, (1 << 64) - 4096)))), "outside its"),
        (raw(MMAP | CAPS, 32, header(SPARSE, 0, sparse(((1 << 64) - 1, 1)))), "outside its"),
    ],
)
def test_corruption_is_named(data: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        parse(data)


@given(st.binary(max_size=200))
def test_random_bytes_are_parsed_or_refused(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        parse(data)


@given(st.integers(0, 120), st.binary(max_size=96), st.integers(0, 1 << 64 - 1))
def test_random_chains_are_parsed_or_refused(at: int, chain: bytes, size: int) -> None:
    with contextlib.suppress(ProtocolError):
        info = parse(raw(MMAP | CAPS, at, chain, size))
        assert all(Interval(0, info.size).covers(area) for area in info.areas)
        assert len(info.capabilities) <= len(chain)


areas = st.lists(
    st.tuples(st.integers(0, 15), st.integers(0, 15)).map(
        lambda ends: Interval(min(ends) * 4096, max(ends) * 4096)
    ),
    max_size=4,
)
capabilities = st.lists(
    st.builds(
        InfoCapability, st.integers(4, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=24)
    ),
    max_size=3,
)


@given(areas, capabilities)
def test_building_and_parsing_are_inverse(
    some: list[Interval], others: list[InfoCapability]
) -> None:
    info = RegionInfo(2, RW, 0x10000, 0x20000, tuple(some), tuple(others))
    data = build(info)
    assert INFO.unpack_from(data)[0] == len(data)
    again = parse(data)
    assert again[:1] + again[2:4] == info[:1] + info[2:4]
    assert again.areas == parse(build(again)).areas
    assert set(range(16)) & _pages(again.areas) == _pages(info.areas)
    assert again.mappable == bool(_pages(info.areas))
    kept = [c for c in again.capabilities if c.id != SPARSE]
    assert [(c.id, c.version) for c in kept] == [(c.id, c.version) for c in others]
    # A capability has no length of its own: padding can't be told from data.
    assert all(k.data.startswith(c.data) for k, c in zip(kept, others, strict=True))


def _pages(some: tuple[Interval, ...]) -> set[int]:
    return {page for area in some for page in range(area.start // 4096, area.end // 4096)}
