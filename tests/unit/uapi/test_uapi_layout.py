# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Types built from layouts at the first access."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import pytest

from pyvmm.uapi import kvm, vfio
from pyvmm.uapi.layout import build


def namespace(**layouts: Any) -> dict[str, Any]:
    return {"__name__": "some.module", "_LAYOUTS": layouts}


def test_a_type_is_built_once_and_kept() -> None:
    names = namespace(pair=("struct", (("a", "u8"), ("b", "u32"))))
    pair = build("pair", names)
    assert names["pair"] is pair
    assert pair.__name__ == "pair"
    assert pair.__module__ == "some.module"
    assert ctypes.sizeof(pair) == 8


def test_what_a_type_holds_is_built_with_it() -> None:
    names = namespace(
        outer=("struct", (("inner", "inner[2]"), ("rest", "inner[0]"))),
        inner=("union", (("bytes", "u8[2][4]"), ("number", "s64"), ("at", "ptr"))),
    )
    outer = build("outer", names)
    value = outer()
    value.inner[1].number = -2
    assert bytes(value) == bytes(8) + b"\xfe" + b"\xff" * 7
    assert value.inner[1].bytes[1][3] == 0xFF
    assert len(value.inner[1].bytes) == 2
    assert len(value.rest) == 0
    assert value.inner._type_ is names["inner"]


def test_packed_layouts_have_no_holes() -> None:
    names = namespace(pair=("packed", (("a", "u8"), ("b", "u32"))))
    assert ctypes.sizeof(build("pair", names)) == 5


def test_bit_fields() -> None:
    names = namespace(bits=("struct", (("low", "u8", 3), ("high", "u8", 5))))
    value = build("bits", names)(low=9, high=2)
    assert bytes(value) == bytes([1 | 2 << 3])


def test_members_of_anonymous_members_are_reached_directly() -> None:
    level = kvm.kvm_irq_level(irq=5, level=1)
    assert level.status == 5
    run = kvm.kvm_run()
    run.io.port = 0x3F8
    assert bytes(run)[32 + 2 : 32 + 4] == b"\xf8\x03"


def test_a_misspelt_member_is_an_error() -> None:
    region = kvm.kvm_userspace_memory_region()
    with pytest.raises(AttributeError, match="guest_adress"):
        region.guest_adress = 1


def test_an_unknown_name_is_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'pyvmm\.uapi\.kvm' has no attribute 'nope'"):
        kvm.nope  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(vfio, "kvm_regs")


def test_dir_lists_types_not_yet_built() -> None:
    assert {"KVM_RUN", "kvm_regs", "kvm_tdx_capabilities"} <= set(dir(kvm))


def test_threads_that_race_get_the_same_type() -> None:
    names = namespace(
        outer=("struct", tuple((f"m{n}", f"inner{n}") for n in range(50))),
        **{f"inner{n}": ("struct", (("a", "u64"),)) for n in range(50)},
    )
    start = threading.Barrier(4)
    got: list[Any] = []

    def ask() -> None:
        start.wait()
        got.append(build("outer", names))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert len(set(got)) == 1
    assert {type(got[0]().m7)} == {names["inner7"]}
