# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The GSI routing table: what the kernel is given, and how often."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyvmm.kvm import GsiRouting, KvmCallFailed, KvmLimitReached
from pyvmm.uapi import kvm as uapi
from tests.unit.kvm.conftest import Ioctls


def table(arg: uapi.kvm_irq_routing) -> list[uapi.kvm_irq_routing_entry]:
    """The entries behind the header, as the kernel would read them."""
    header = ctypes.sizeof(uapi.kvm_irq_routing)
    entries = (uapi.kvm_irq_routing_entry * arg.nr).from_address(ctypes.addressof(arg) + header)
    return [uapi.kvm_irq_routing_entry.from_buffer_copy(entry) for entry in entries]


class Kernel:
    """Keeps the table it was last given."""

    def __init__(self) -> None:
        self.calls = 0
        self.pins: list[tuple[int, int, int]] = []
        self.messages: dict[int, tuple[int, int]] = {}
        self.fails = False

    def __call__(self, fd: int, request: int, arg: Any = 0) -> int:
        assert request == uapi.KVM_SET_GSI_ROUTING
        self.calls += 1
        if self.fails:
            raise OSError(12, "told to fail")
        self.pins, self.messages = [], {}
        for entry in table(arg):
            assert entry.flags == 0
            if entry.type == uapi.KVM_IRQ_ROUTING_IRQCHIP:
                self.pins.append((entry.gsi, entry.u.irqchip.irqchip, entry.u.irqchip.pin))
            else:
                assert entry.type == uapi.KVM_IRQ_ROUTING_MSI
                msi = entry.u.msi
                self.messages[entry.gsi] = (msi.address_hi << 32 | msi.address_lo, msi.data)
        return 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr("pyvmm.kvm.errors.ioctl", kernel)
    return kernel


def test_the_irqchips_pins_are_always_there(kernel: Kernel) -> None:
    routing = GsiRouting(-1, 4096)
    routing.set_msi(routing.allocate(), 0xFEE00000, 0x40)
    routing.commit()
    pins = set(kernel.pins)
    assert len(pins) == len(kernel.pins) == 23 + 15
    assert (0, uapi.KVM_IRQCHIP_IOAPIC, 2) in pins
    own = [gsi for gsi in range(24) if gsi not in (0, 2)]
    assert all((gsi, uapi.KVM_IRQCHIP_IOAPIC, gsi) in pins for gsi in own)
    assert all((gsi, uapi.KVM_IRQCHIP_PIC_MASTER, gsi) in pins for gsi in (0, *range(3, 8)))
    assert all((gsi + 8, uapi.KVM_IRQCHIP_PIC_SLAVE, gsi) in pins for gsi in range(8))
    assert kernel.messages == {24: (0xFEE00000, 0x40)}


def test_the_pool_is_as_large_as_the_kernels_table_allows(ioctls: Ioctls) -> None:
    routing = GsiRouting(-1, 64)
    gsis = [routing.allocate() for _ in range(26)]
    assert len(set(gsis)) == 26
    with pytest.raises(KvmLimitReached, match=r"all 26 .*fewer vectors"):
        routing.allocate()
    routing.free(gsis[7])
    assert routing.allocate() == gsis[7]


@pytest.mark.parametrize("gsi", [0, 23, 25, 4000])
def test_what_was_not_allocated_is_not_freed(ioctls: Ioctls, gsi: int) -> None:
    routing = GsiRouting(-1, 4096)
    assert routing.allocate() == 24
    with pytest.raises(ValueError, match=f"GSI {gsi} is not allocated"):
        routing.free(gsi)


def test_freed_twice(ioctls: Ioctls) -> None:
    routing = GsiRouting(-1, 4096)
    gsi = routing.allocate()
    routing.free(gsi)
    with pytest.raises(ValueError, match="not allocated"):
        routing.free(gsi)


def test_a_commit_that_failed_is_made_good_by_the_next(kernel: Kernel) -> None:
    routing = GsiRouting(-1, 4096)
    routing.set_msi(routing.allocate(), 0xFEE00000, 0x40)
    kernel.fails = True
    with pytest.raises(KvmCallFailed, match=r"routing 1 message.*KVM_SET_GSI_ROUTING: ENOMEM"):
        routing.commit()
    kernel.fails = False
    routing.commit()
    assert kernel.messages == {24: (0xFEE00000, 0x40)}


class Routing(RuleBasedStateMachine):
    """After each commit the kernel has what was asked for; it is called only if that changed."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = Kernel()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("pyvmm.kvm.errors.ioctl", self.kernel)
        self.routing = GsiRouting(-1, 48)
        self.allocated: list[int] = []
        self.wanted: dict[int, tuple[int, int]] = {}

    def teardown(self) -> None:
        self.patch.undo()

    @precondition(lambda self: len(self.allocated) < 8)
    @rule()
    def allocate(self) -> None:
        gsi = self.routing.allocate()
        assert gsi >= 24
        assert gsi not in self.allocated
        self.allocated.append(gsi)

    @precondition(lambda self: self.allocated)
    @rule(data=st.data(), address=st.integers(0, 2**64 - 1), message=st.integers(0, 2**32 - 1))
    def set(self, data: st.DataObject, address: int, message: int) -> None:
        gsi = data.draw(st.sampled_from(self.allocated))
        self.routing.set_msi(gsi, address, message)
        self.wanted[gsi] = (address, message)

    @precondition(lambda self: self.allocated)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        gsi = data.draw(st.sampled_from(self.allocated))
        self.routing.free(gsi)
        self.allocated.remove(gsi)
        self.wanted.pop(gsi, None)

    @rule()
    def commit(self) -> None:
        calls, had = self.kernel.calls, dict(self.kernel.messages)
        self.routing.commit()
        assert self.kernel.messages == self.wanted
        assert self.kernel.calls == calls + (had != self.wanted or not calls)

    @invariant()
    def never_more_than_the_kernel_takes(self) -> None:
        assert len(self.kernel.pins) + len(self.kernel.messages) <= 48


TestRouting = Routing.TestCase
