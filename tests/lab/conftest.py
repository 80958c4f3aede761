# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Lab tests run in a lab, on real kernel VFIO; `make test` on the host shows their results.

On the host each is handed to the lab of its profile (relay.py): one boot serves all tests of it.
In a lab they are tests like any other. `backend` and `kind` as arguments have a test run for
every DMA space that each kernel offers, and for every device; without `backend` it runs on the
main profile alone, or on all if it is marked every_kernel.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyvmm.vfio.kernel import KernelDevice, open_device
from tests.conftest import open_fds
from tests.lab.profiles import BY_NAME, KINDS, MAIN, PROFILES
from tests.lab.relay import TIME_LIMIT, LabFailed, Relay, shown

IN_LAB = "PYVMM_LAB" in os.environ


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test its profile, and its back end and device where it asks for them."""
    wanted = metafunc.fixturenames
    everywhere = metafunc.definition.get_closest_marker("every_kernel")
    if "backend" in wanted:
        pairs = [(profile.name, backend) for profile in PROFILES for backend in profile.backends]
        metafunc.parametrize(("profile", "backend"), pairs, ids=["-".join(pair) for pair in pairs])
    else:
        metafunc.parametrize("profile", list(BY_NAME) if everywhere else [MAIN.name])
    if "kind" in wanted:
        metafunc.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def _profile(profile: str) -> str:
    """Has every test be parametrised with its profile."""
    return profile


# -- on the host --


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of a profile go to one worker, where several share the work."""
    for item in items:
        if _is_ours(item):
            item.add_marker(pytest.mark.lab)
            item.add_marker(pytest.mark.xdist_group(f"lab-{_profile_of(item)}"))
            if not IN_LAB:  # there each has the usual limit; here it waits for others too
                item.add_marker(pytest.mark.timeout(TIME_LIMIT))


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

    _relays: dict[str, Relay] = {}

    def pytest_sessionfinish() -> None:
        while _relays:
            _relays.popitem()[1].close()

    def _reports(item: pytest.Item) -> Iterator[pytest.TestReport]:
        profile = _profile_of(item)
        hint = ("one command for this one", shown(BY_NAME[profile], item.nodeid))
        try:
            if profile not in _relays:
                mine = [
                    i.nodeid
                    for i in item.session.items
                    if _is_ours(i) and _profile_of(i) == profile
                ]
                _relays[profile] = Relay(BY_NAME[profile], mine)
            for data in _relays[profile].reports(item.nodeid):
                report = item.config.hook.pytest_report_from_serializable(
                    config=item.config, data=data
                )
                if report.failed:
                    report.sections.append(hint)
                if isinstance(report.longrepr, list):  # JSON has no tuples
                    report.longrepr = tuple(report.longrepr)
                yield report
        except LabFailed as error:
            yield pytest.TestReport(
                item.nodeid,
                item.location,
                dict.fromkeys(item.keywords, 1),
                "failed",
                str(error),
                "call",
                [hint],
            )


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
        return next(bdf for bdf in _bound(kind) if len(_group(bdf)) <= 1)

    return alone


def _bound(kind: str) -> list[str]:
    devices = os.environ["PYVMM_LAB_DEVICES"].split(",")
    return [address for name, _, address in (d.partition("=") for d in devices) if name == kind]


def _group(bdf: str) -> list[str]:
    """Endpoints in its group: a bridge takes no part."""
    devices = Path(f"/sys/bus/pci/devices/{bdf}/iommu_group/devices")
    if not devices.is_dir():
        return [bdf]
    classes = {path.name: (path / "class").read_text() for path in devices.iterdir()}
    return [name for name, code in classes.items() if not code.startswith("0x0604")]


@pytest.fixture
def bdf(kind: str, lab_device: Callable[[str], str]) -> str:
    """The address of a device of this kind."""
    return lab_device(kind)


@pytest.fixture
def device(bdf: str, backend: str) -> Iterator[KernelDevice]:
    """A device of this kind, on this back end."""
    with open_device(bdf, backend=backend) as device:
        yield device


@pytest.fixture(autouse=True)
def host_as_it_was() -> Iterator[None]:
    """Fail a test that leaves a file open, memory pinned, or a device with another driver."""
    if not IN_LAB:
        yield
        return
    before = _state()
    yield
    gc.collect()
    assert _state() == before


def _state() -> dict[str, object]:
    maps = Path("/proc/self/maps").read_text().splitlines()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    devices = Path("/sys/bus/pci/devices")
    return {
        "files": sorted(open_fds().values()),
        "mapped": [line for line in maps if "vfio" in line or "iommu" in line or "memfd" in line],
        "pinned": (status["VmPin"].strip(), status["VmLck"].strip()),
        "drivers": {path.name: os.path.realpath(path / "driver") for path in devices.iterdir()},
    }
