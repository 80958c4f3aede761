# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""SR-IOV for real: virtual functions of an igb that is VFIO's, and the token that guards them."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from pyvmm.uapi.vfio import VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio import EventFd, Fds, HostDeviceUnavailable
from pyvmm.vfio.host import HostFunction
from pyvmm.vfio.kernel import KernelDevice, open_device
from tests.lab.registers import enable_bus_master, write32
from tests.lab.test_examples import ping_through
from tests.lab.written import written

pytestmark = pytest.mark.profiles("igb", "igb-newest")

ENABLE_SRIOV = Path("/sys/module/vfio_pci/parameters/enable_sriov")
TOKEN, WRONG = UUID("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"), UUID(int=1)
VFS = 2

MSIX, VECTORS = VFIO_PCI_MSIX_IRQ_INDEX, 3
# Of the physical function: that interrupts are MSI-X messages.
GENERAL_PURPOSE, MESSAGES = 0x1514, 1 << 4
# Of a virtual function: have it send some of its messages, and let it.
CAUSE_SET, MASK_SET = 0x1520, 0x1524
PATIENCE = 10.0

GetDevice = Callable[[str], str]


@pytest.fixture
def owner(lab_device: GetDevice) -> HostFunction:
    """The physical function."""
    return HostFunction(lab_device("igb"))


@pytest.fixture
def virtual(owner: HostFunction) -> Iterator[tuple[HostFunction, ...]]:
    """Its virtual functions, guarded by TOKEN."""
    with open_device(owner.bdf) as device:
        device.features.set_vf_token(TOKEN)
    number = Path(owner.path) / "sriov_numvfs"
    with written(ENABLE_SRIOV, "Y"), written(number, VFS):
        yield tuple(map(HostFunction, owner.virtual_functions))
    assert owner.virtual_functions == ()


@contextlib.contextmanager
def refused(why: str) -> Iterator[None]:
    with pytest.raises(HostDeviceUnavailable, match=why):
        yield


def checks_tokens(backend: str) -> bool:
    """Groups do always, cdevs since Linux 6.17."""
    release = tuple(map(int, platform.release().split(".")[:2]))
    return backend != "iommufd" or release >= (6, 17)


def test_they_come_to_vfio_in_groups_of_their_own(
    owner: HostFunction, virtual: tuple[HostFunction, ...]
) -> None:
    assert len(virtual) == VFS
    assert all(function.physical_function == owner.bdf for function in virtual)
    assert {function.driver for function in virtual} == {"vfio-pci"}
    assert len({function.group for function in (owner, *virtual)}) == VFS + 1


def test_the_token(virtual: tuple[HostFunction, ...], backend: str) -> None:
    bdf = virtual[0].bdf
    if checks_tokens(backend):
        with refused(r"EACCES.*give the VF token that was set there"):
            open_device(bdf, backend=backend)
        with refused(r"EACCES.*its VF token is another one"):
            open_device(bdf, backend=backend, vf_token=WRONG)
    else:
        open_device(bdf, backend=backend).close()
    open_device(bdf, backend=backend, vf_token=str(TOKEN)).close()


def test_no_token_for_what_is_not_virtual(owner: HostFunction, backend: str) -> None:
    """But the physical function takes it, as the one that virtual ones have from then on."""
    if checks_tokens(backend):
        open_device(owner.bdf, backend=backend, vf_token=TOKEN).close()
    else:
        with refused("a VF token is for virtual functions"):
            open_device(owner.bdf, backend=backend, vf_token=TOKEN)


def test_their_messages(
    owner: HostFunction, virtual: tuple[HostFunction, ...], backend: str
) -> None:
    """Those of each, while their owner is driven by this process, too."""
    with contextlib.ExitStack() as stack:
        token = TOKEN if checks_tokens(backend) else None
        main = stack.enter_context(open_device(owner.bdf, backend=backend, vf_token=token))
        write32(main, GENERAL_PURPOSE, MESSAGES)
        for function in virtual:
            device = stack.enter_context(open_device(function.bdf, backend=backend, vf_token=TOKEN))
            assert device.irq_info(MSIX).count == VECTORS
            triggers = [stack.enter_context(EventFd()) for _ in range(VECTORS)]
            device.set_triggers(MSIX, 0, Fds(trigger.fileno() for trigger in triggers))
            sends_each(device, triggers)


def sends_each(device: KernelDevice, triggers: list[EventFd]) -> None:
    enable_bus_master(device)
    write32(device, MASK_SET, (1 << VECTORS) - 1)
    for vector, trigger in enumerate(triggers):
        write32(device, CAUSE_SET, 1 << vector)
        assert trigger.wait(PATIENCE)
        assert [each.read() for each in triggers] == [each is trigger for each in triggers]


def test_nic(owner: HostFunction, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The driver of examples/, on the physical function: it knows both families."""
    ping_through(owner.bdf, backend, capsys)
