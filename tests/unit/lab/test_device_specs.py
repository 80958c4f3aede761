# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What people write for a lab's devices: it is read back as it was, or refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.config import notation
from pyvmm.lab.devices import Bridge, DeviceSpec, Item, each, parse, parse_size
from pyvmm.lab.errors import LabError

KINDS = st.from_regex(r"[a-z][a-z0-9_.-]{0,9}", fullmatch=True)
NAMES = KINDS.filter(lambda name: name not in ("addr", "bus", "driver", "id"))
VALUES = st.from_regex(r"[A-Za-z0-9_./-]{1,9}", fullmatch=True)
SPECS = st.builds(DeviceSpec, KINDS, st.dictionaries(NAMES, VALUES, max_size=3))
BRIDGES = st.builds(Bridge, st.lists(SPECS, min_size=1, max_size=3).map(tuple))
ITEMS = st.lists(SPECS | BRIDGES, min_size=1, max_size=5)


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
    """But for 0, which a config refuses where it has no sense."""
    try:
        size = notation.size(text, "/")
    except ValueError:
        size = 0
    if size:
        assert parse_size(text) == size
    else:
        with pytest.raises(ValueError, match="is no size"):
            parse_size(text)
