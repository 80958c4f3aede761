# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What people write for a lab's devices: it is read back as it was, or refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.config import notation
from pyvmm.lab import devices
from pyvmm.lab.defaults import DEVICE_KINDS
from pyvmm.lab.devices import Bridge, DeviceSpec, Item, disk_size, each, parse, parse_size
from pyvmm.lab.errors import LabError
from tests.conftest import ROOT

KINDS = st.from_regex(r"[a-z][a-z0-9_.-]{0,9}", fullmatch=True)
NAMES = KINDS.filter(lambda name: name not in ("addr", "bus", "driver", "id"))
VALUES = st.from_regex(r"[A-Za-z0-9_./-]{1,9}", fullmatch=True)
SPECS = st.builds(DeviceSpec, KINDS, st.dictionaries(NAMES, VALUES, max_size=3))
BRIDGES = st.builds(Bridge, st.lists(SPECS, min_size=1, max_size=3).map(tuple))
ITEMS = st.lists(SPECS | BRIDGES, min_size=1, max_size=5)


def test_the_help_and_the_page_list_all_kinds() -> None:
    assert tuple(devices.KINDS) == DEVICE_KINDS
    listed = ", ".join(f"`{kind}`" for kind in DEVICE_KINDS)
    assert f"| {listed} | the kinds" in (ROOT / "docs/lab.md").read_text()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("nvme", 16 << 20),
        ("nvme:size=4K", 4096),
        ("virtio-blk:size=4097", 8192),  # in whole blocks
        ("xhci:size=16T", 16 << 40),
    ],
)
def test_sizes_of_disks(text: str, size: int) -> None:
    (spec,) = each(parse(text))
    assert disk_size(spec) == size


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nvme:size=10", "a disk of 10 bytes is less than a block; take 4K to 16T"),
        ("nvme:size=4095", "is less than a block"),
        ("bridge(edu+nvme:size=17T)", "a disk has 16T at most; take 4K to 16T"),
        ("virtio-blk:size=100T", "a disk has 16T at most"),
        ("xhci:size=lots", "'lots' is no size such as 512M or 1G; take 4K to 16T"),
    ],
)
def test_disks_that_can_not_be(text: str, why: str) -> None:
    """Before there is a lab that can't have them."""
    with pytest.raises(LabError, match=why):
        parse(text)


@pytest.mark.parametrize("text", ["edu:size=1", "nvme:drive=mine:size=1", "intel-iommu:size=1"])
def test_who_has_no_disk_of_the_labs_may_have_any_size(text: str) -> None:
    parse(text)


@given(ITEMS)
def test_what_is_written_is_read_back(items: list[Item]) -> None:
    assert parse(",".join(map(str, items))) == tuple(items)


@given(st.text(alphabet="abn,()+:= bridge", max_size=30))
def test_any_text_is_read_or_refused_with_the_cure(text: str) -> None:
    try:
        items = parse(text)
    except LabError as error:
        refusal = error
    else:
        assert ",".join(map(str, items)) == text
        return
    assert "write it like" in refusal.cure


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "nvme,",
        "nvme,,edu",
        "nvme edu",
        "nvme:",
        "nvme:size",
        "nvme:=1",
        "-x",
        "bridge()",
        "bridge(nvme,edu)",
        "bridge(nvme",
        "bridge(bridge(edu))",
        "nvme)",
        "edu+edu",
        "nvme:bus=slot1",
        "bridge(nvme+edu:addr=3)",
        "edu:id=x",
        "edu:driver=nvme",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(LabError, match="lab device"):
        parse(text)


def test_no_devices() -> None:
    assert parse("") == ()


def test_each_finds_those_behind_bridges() -> None:
    kinds = [spec.kind for spec in each(parse("nvme,bridge(edu+e1000e:mac=x),igb"))]
    assert kinds == ["nvme", "edu", "e1000e", "igb"]


def test_kinds_that_nobody_knows_are_qemus_names() -> None:
    (spec,) = each(parse("ivshmem-plain"))
    assert spec.model.model == "ivshmem-plain"


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), ("4K", 4096), ("1g", 1 << 30), ("256 MiB", 256 << 20), ("1T", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "2GB", "G", "1.5G", "1G ", "\u0661"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@given(
    st.from_regex(r"[0-9]{1,19} ?[KMGTPkmgtp]?(iB|B|ib)?", fullmatch=True)
    | st.text("0123456789KMGTiB. -+x", max_size=6)
)
def test_sizes_are_those_of_configs(text: str) -> None:
    """But for 0, which a config refuses where it has no sense, and what no memory has."""
    try:
        size = notation.size(text, "/")
    except notation.Explained:
        assert parse_size(text) > notation.MOST_MEMORY
        return
    except ValueError:
        size = 0
    if size:
        assert parse_size(text) == size
    else:
        with pytest.raises(ValueError, match="is no size"):
            parse_size(text)
