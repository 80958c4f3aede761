# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Lab tests run in a lab, on real kernel VFIO; `make test` on the host shows their results.

On the host each is handed to the lab of its profile (relay.py): one boot serves all tests of it.
In a lab they are tests like any other. `backend` and `kind` as arguments have a test run for
every DMA space that each kernel offers (of those that its mark `backends` names, if it has one)
and for every device; without `backend` it runs on the main profile alone, or on all if it is
marked every_kernel. The mark `profiles` names others. What of this is not in the main profile, or
is there on a seldom used back end, is `make proof`'s, but for tests that are marked smoke.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from pyvmm.debian.errors import DebianError
from pyvmm.linux.errors import LinuxError
from pyvmm.vfio.kernel import KernelDevice, open_device
from tests.lab.guest_images import for_profile
from tests.lab.leaks import Watch
from tests.lab.linux_guest import LinuxVm
from tests.lab.machines import GuestVm
from tests.lab.profiles import BY_NAME, MAIN, PROFILES, SELDOM_USED, Profile, worker_of
from tests.lab.relay import LabFailed, Relay, shown

IN_LAB = "PYVMM_LAB" in os.environ
# Seconds in a lab for one of those which take long, if it doesn't say so itself: all processors
# may have labs at work.
_PATIENCE = 400


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test its profile, and its back end and device where it asks for them."""
    wanted = [name for name in ("backend", "kind") if name in metafunc.fixturenames]
    only = metafunc.definition.get_closest_marker("backends")
    smoke = metafunc.definition.get_closest_marker("smoke") is not None
    sets = []
    for profile in _profiles_for(metafunc.definition, "backend" in wanted):
        choices: list[tuple[str, ...]] = [(profile.name,)]
        if "backend" in wanted:
            choices.append(tuple(b for b in profile.backends if only is None or b in only.args))
        if "kind" in wanted:
            choices.append(profile.kinds)
        for values in itertools.product(*choices):
            often = smoke or (profile is MAIN and set(values).isdisjoint(SELDOM_USED))
            marks = () if often else (pytest.mark.proof,)
            sets.append(pytest.param(*values, marks=marks, id="-".join(values)))
    metafunc.parametrize(("profile", *wanted), sets)


def _profiles_for(test: pytest.Item, has_backend: bool) -> Sequence[Profile]:
    if named := test.get_closest_marker("profiles"):
        return [BY_NAME[name] for name in named.args]
    everywhere = has_backend or test.get_closest_marker("every_kernel")
    return PROFILES if everywhere else [MAIN]


@pytest.fixture(autouse=True)
def _profile(profile: str) -> str:
    """Has every test be parametrised with its profile."""
    return profile


# -- on the host --


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First, profile by profile."""
    order = list(BY_NAME)
    items.sort(key=lambda item: order.index(_profile_of(item)) if _is_ours(item) else len(order))
    for item in items:
        if _is_ours(item):
            item.add_marker(pytest.mark.lab)
            if not IN_LAB:  # it waits for others too
                item.add_marker(pytest.mark.timeout(BY_NAME[_profile_of(item)].time_limit))
            elif item.get_closest_marker("proof") and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(_PATIENCE))


if not IN_LAB:

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
        """Have the lab run it, instead of running it here."""
        if not _is_ours(item) or item.get_closest_marker("skip"):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in _reports(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    _relays: dict[tuple[str, str], Relay] = {}
    """Labs at work: by profile, and by which share of its tests"""
    _broken: dict[str, str] = {}

    def pytest_sessionfinish() -> None:
        while _relays:
            _relays.popitem()[1].close()

    def _reports(item: pytest.Item) -> Iterator[pytest.TestReport]:
        name = _profile_of(item)
        hint = ("one command for this one", shown(BY_NAME[name], item.nodeid))
        try:
            for data in _relayed(item, name):
                report = item.config.hook.pytest_report_from_serializable(
                    config=item.config, data=data
                )
                if report.failed:
                    report.sections.append(hint)
                if isinstance(report.longrepr, list):  # JSON has no tuples
                    report.longrepr = tuple(report.longrepr)
                yield report
        except LabFailed as error:
            keywords: dict[str, Literal[1]] = dict.fromkeys(item.keywords, 1)
            yield pytest.TestReport(
                item.nodeid, item.location, keywords, "failed", str(error), "call", [hint]
            )

    def _relayed(item: pytest.Item, name: str) -> list[Any]:
        """The reports of a test. The first to be asked for starts a lab for all that are left."""
        if name in _broken:
            raise LabFailed(_broken[name])
        share = (name, _share_of(item))
        if share not in _relays:
            items = item.session.items[item.session.items.index(item) :]
            left = [each for each in items if _is_ours(each) and _profile_of(each) == name]
            left = [each for each in left if _share_of(each) == share[1]]
            _prepare_for(left, name)
            _relays[share] = Relay(BY_NAME[name], [each.nodeid for each in left])
        try:
            return _relays[share].reports(item.nodeid)
        except LabFailed:
            relay = _relays.pop(share)
            relay.close()
            if not relay.finished:  # another one would do no better
                _broken[name] = f"the lab {name} doesn't work: see the first test of it that failed"
            raise

    def _share_of(item: pytest.Item) -> str:
        """Which of the tests share a lab with it: all of its profile, or all of its worker's."""
        return worker_of(item.nodeid) if "PYTEST_XDIST_WORKER" in os.environ else ""

    def _prepare_for(items: Sequence[pytest.Item], name: str) -> None:
        if not any(item.get_closest_marker("boots") for item in items):
            return
        from tests.lab.guest_images import prepare_for

        try:
            prepare_for(items)
        except (DebianError, LinuxError) as error:
            _broken[name] = f"the guests of the lab {name} have nothing to boot: {error}"
            raise LabFailed(_broken[name]) from None


def _is_ours(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and Path(__file__).parent in item.path.parents


def _profile_of(item: pytest.Item) -> str:
    assert isinstance(item, pytest.Function)
    return str(item.callspec.params["profile"])


# -- in the lab --


@pytest.fixture
def lab_devices() -> Callable[[str], list[str]]:
    """lab_devices(kind): the addresses of all such devices that are bound to vfio-pci."""
    return _bound


@pytest.fixture
def lab_device() -> Callable[[str], str]:
    """lab_device(kind): the address of the one that is alone in its IOMMU group."""

    def alone(kind: str) -> str:
        return next(bdf for bdf in _bound(kind) if len(_group_of(bdf)) <= 1)

    return alone


def _bound(kind: str) -> list[str]:
    devices = os.environ["PYVMM_LAB_DEVICES"].split(",")
    return [address for name, _, address in (d.partition("=") for d in devices) if name == kind]


def _group_of(bdf: str) -> list[str]:
    """Endpoints in its group: a bridge takes no part."""
    devices = Path(f"/sys/bus/pci/devices/{bdf}/iommu_group/devices")
    if not devices.is_dir():
        return [bdf]
    classes = {path.name: (path / "class").read_text() for path in devices.iterdir()}
    return [name for name, code in classes.items() if not code.startswith("0x0604")]


@pytest.fixture
def neighbours(lab_devices: Callable[[str], list[str]]) -> dict[str, str]:
    """The NVMe controller and the edu device that share a bus, and a group if there is an IOMMU."""
    drives, edus = lab_devices("nvme"), lab_devices("edu")
    return next(
        {"nvme": drive, "edu": edu}
        for drive in drives
        for edu in edus
        if drive.rpartition(":")[0] == edu.rpartition(":")[0]
    )


@pytest.fixture
def bdf(kind: str, lab_device: Callable[[str], str]) -> str:
    """The address of a device of this kind."""
    return lab_device(kind)


@pytest.fixture
def device(bdf: str, backend: str) -> Iterator[KernelDevice]:
    """A device of this kind, on this back end."""
    with open_device(bdf, backend=backend) as device:
        yield device


class MakeVm(Protocol):
    """make_vm("nvme", bdf, cmdline="shared"): see GuestVm."""

    def __call__(
        self, guest: str, /, *devices: str | dict[str, object], **keys: object
    ) -> GuestVm: ...


@pytest.fixture
def on_its_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """VMs have their devices on the test's back end, or on the best, if it has none."""
    if backend := request.node.callspec.params.get("backend"):
        monkeypatch.setattr("pyvmm.machine.host_devices.best_backend", lambda *_: backend)


@pytest.fixture
def make_vm(guests: Path, on_its_backend: None) -> Iterator[MakeVm]:
    """VMs with test guests."""
    with ExitStack() as machines:

        def make(guest: str, /, *devices: str | dict[str, object], **keys: object) -> GuestVm:
            vm = GuestVm(guests, guest, *devices, **keys)
            machines.enter_context(vm.machine)
            return vm

        yield make


class MakeLinux(Protocol):
    """make_linux(boots("nvme"), [bdf], "size=8", cpus=2): see LinuxVm."""

    def __call__(
        self,
        booted: Mapping[str, object],
        devices: Sequence[str | dict[str, object]] = (),
        parameters: str = "",
        **keys: object,
    ) -> LinuxVm: ...


@pytest.fixture
def make_linux(profile: str, on_its_backend: None) -> Iterator[MakeLinux]:
    """VMs with Linux guests."""
    with ExitStack() as machines:

        def make(
            booted: Mapping[str, object],
            devices: Sequence[str | dict[str, object]] = (),
            parameters: str = "",
            **keys: object,
        ) -> LinuxVm:
            vm = LinuxVm(for_profile(booted, profile), devices, parameters, **keys)
            machines.enter_context(vm.machine)
            return vm

        yield make


@pytest.fixture(scope="session")
def watch() -> Watch | None:
    return Watch() if IN_LAB else None


@pytest.fixture(autouse=True)
def host_as_it_was(watch: Watch | None) -> Iterator[None]:
    """Fail a test that leaves something behind, or otherwise: see leaks.py."""
    yield
    if watch is not None:
        assert watch.differences() == []
