# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A device that is given guest memory without a file: each DMA of its is a message to the VMM."""

from __future__ import annotations

import pytest

from pyvmm.vfio.user.client_dma import ClientDma
from pyvmm.vfio.user.protocol import VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE
from pyvmm.vfio.user.transport import Message
from tests.kvm.machine.conftest import LIMIT, MakeMachine

pytestmark = pytest.mark.kvm


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The commands of a server that the VMM has served: DMA_READ and DMA_WRITE."""
    messages: list[int] = []
    serve = ClientDma.serve

    def recorded(self: ClientDma, message: Message) -> bytes:
        messages.append(message.command)
        return serve(self, message)

    monkeypatch.setattr(ClientDma, "serve", recorded)
    return messages


def keep_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give servers no file of guest memory from now on."""
    give = ClientDma.map

    def map(
        self: ClientDma,
        iova: int,
        size: int,
        *,
        address: int,
        fd: int = -1,
        offset: int = 0,
        writable: bool = True,
    ) -> None:
        assert fd >= 0, "there is one that could be given"
        give(self, iova, size, address=address, writable=writable)

    monkeypatch.setattr(ClientDma, "map", map)


def report(make: MakeMachine, model: str) -> list[str]:
    """What the guest for that model says, which exercises all of it and passes."""
    vm = make(model, devices=[{"model": model, "process": True}])
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None, vm.console.text
    lines = vm.console.text.splitlines()
    assert outcome.ok, [line for line in lines if "FAIL" in line]
    assert lines[-1] == "PASS"
    return lines


@pytest.mark.parametrize("model", ["edu", pytest.param("testdev", marks=pytest.mark.proof)])
def test_the_guest_cant_tell(
    make: MakeMachine, monkeypatch: pytest.MonkeyPatch, messages: list[int], model: str
) -> None:
    wanted = report(make, model)
    assert messages == [], "with a file there is none"
    keep_files(monkeypatch)
    assert report(make, model) == wanted
    assert set(messages) == {VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE}
