# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Whatever is in the rings and the doorbells: nothing raises, blocks or goes astray.

After each of many guests that do what they like, the controller is reset and works.
"""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyvmm.models.nvme import Nvme
from pyvmm.models.nvme.admin import MAX_ENTRIES
from pyvmm.models.nvme.spec import SQE

from .driver import CC, DATA, ENABLE, LIMIT, MEMORY, Admin, Driver, Io, Queue, Status, blocks

addresses = st.one_of(
    st.sampled_from((0, 8, 0x10000, 0x14000, DATA, DATA + 0xFF8, MEMORY, (1 << 64) - 4096)),
    st.integers(0, MEMORY - 1).map(lambda at: at & -4096),
    st.integers(MEMORY, (1 << 64) - 1),
)
dwords = st.one_of(
    st.integers(0, 8),
    st.sampled_from((0xFFFFFFFF, 0xFFFF, 7 << 16 | 1, 1 << 16 | 3, 0x80000000, 15 << 16 | 1)),
    st.integers(0, 0xFFFFFFFF),
)
commands = st.builds(
    SQE.pack,
    st.one_of(st.sampled_from((*Admin, *Io)), st.integers(0, 255)),
    st.sampled_from((0, 0, 0, 0x40, 0x80, 0xC0, 1)),
    st.integers(0, 0xFFFF),
    st.one_of(st.sampled_from((0, 1, 2, 0xFFFFFFFF)), st.integers(0, 0xFFFFFFFF)),
    st.just(0),
    addresses,
    addresses,
    *[dwords] * 6,
)


class Guest(RuleBasedStateMachine):
    """It writes whole rings, rings any doorbell, and turns the controller on and off."""

    @initialize()
    def start(self) -> None:
        self.drive = Driver(Nvme(size=1 << 20))
        self.drive.ready()

    @rule(at=st.integers(0, 3 * 4), entries=st.lists(commands, min_size=1, max_size=32))
    def write_entries(self, at: int, entries: list[bytes]) -> None:
        place = 0x10000 + 0x2000 * at
        data = b"".join(entries)
        self.drive.memory[place : place + len(data)] = data

    @rule(
        index=st.one_of(st.integers(0, 6), st.integers(0, 1023)),
        value=st.one_of(st.integers(0, 40), st.integers(0, 0xFFFFFFFF)),
    )
    def ring(self, index: int, value: int) -> None:
        self.drive.ring(index, value)

    @rule(
        offset=st.sampled_from((0x0C, 0x10, 0x14, 0x24, 0x28, 0x30, 0x1C)),
        value=st.one_of(st.sampled_from((0, ENABLE, ENABLE | 1 << 14, 0x1F001F)), dwords),
    )
    def write_register(self, offset: int, value: int) -> None:
        self.drive.write(offset, value)

    @rule(master=st.booleans())
    def change_bus_mastering(self, master: bool) -> None:
        self.drive.command(6 if master else 2)

    @rule()
    def reset(self) -> None:
        self.drive.model.reset()

    @invariant()
    def nothing_is_the_model_s_fault(self) -> None:
        counters = self.drive.model.counters
        assert not [kind for kind in counters if kind.endswith("in the model")], counters

    def teardown(self) -> None:
        if not hasattr(self, "drive"):
            return
        with self.drive as drive:
            drive.command(6)
            drive.disable()
            drive.write(0x10, 0xFFFFFFFF)
            queue = drive.ready()
            assert queue.run(Io.READ, *blocks(0, 1), nsid=1, prp1=DATA).status == Status.SUCCESS
            self.nothing_is_the_model_s_fault()


TestGuest = Guest.TestCase


@given(st.binary(min_size=64, max_size=64), st.integers(0, 1))
def test_any_entry_is_answered_or_held(entry: bytes, where: int) -> None:
    with Driver(Nvme(size=1 << 20)) as drive:
        queue = (drive.ready(), drive.admin)[where]
        at = queue.submission + 64 * queue.tail
        drive.memory[at : at + 64] = entry
        queue.tail += 1
        queue.ring()
        deadline = time.monotonic() + LIMIT
        while not queue.reap() and not (entry[0] == Admin.ASYNC_EVENT_REQUEST and where):
            assert time.monotonic() < deadline
            time.sleep(0.0002)
        drive.disable()


def test_as_many_queues_of_as_many_entries_as_there_can_be() -> None:
    """All on the same memory, all full of reads, and rung over and over."""
    with Driver(Nvme(size=1 << 20)) as drive:
        drive.enable()
        shape = (MAX_ENTRIES - 1) << 16
        for id in range(1, 65):
            for opcode, more in ((Admin.CREATE_CQ, 1), (Admin.CREATE_SQ, id << 16 | 1)):
                done = drive.admin.run(opcode, shape | id, more, prp1=DATA)
                assert done.status == Status.SUCCESS
        begun = time.monotonic()
        for tail in (2047, 5, 2047):
            for id in range(1, 65):
                drive.ring(2 * id, tail)
        assert time.monotonic() - begun < LIMIT
        drive.write(CC, 0)
        drive.wait_for(0)
        assert isinstance(drive.ready(), Queue)
