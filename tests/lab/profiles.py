# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The labs in which the lab tests run: one boot each, and what each kernel offers."""

from __future__ import annotations

from typing import NamedTuple

KINDS = ("nvme", "e1000e", "edu")
"""Device models that every lab has alone in an IOMMU group."""

_DEVICES = "nvme,e1000e,edu,bridge(nvme:msix_qsize=2048:max_ioqpairs=2047+edu)"


class Profile(NamedTuple):
    name: str
    kernel: str
    iommu: str
    backends: tuple[str, ...]
    """DMA spaces of this kernel, as vfio.kernel.open_space() names them."""
    devices: str = _DEVICES
    kinds: tuple[str, ...] = KINDS
    """The devices that each test runs with."""
    memory: str = "1G"
    cpus: int = 1
    guests: str = "6.12"
    """Which of Debian's kernels Linux guests have, where a test doesn't say."""
    time_limit: int = 3600
    """Seconds for all tests of it."""

    @property
    def options(self) -> list[str]:
        """The options of `pyvmm lab run`."""
        return [
            f"--device={self.devices}",
            f"--kernel={self.kernel}",
            f"--iommu={self.iommu}",
            f"--memory={self.memory}",
            f"--cpus={self.cpus}",
        ]


TRANSLATED = ("type1v2", "type1", "iommufd", "iommufd-compat")
"""The back ends with an IOMMU."""
SELDOM_USED = ("type1", "iommufd-compat")
"""Those of them that others are better than, wherever there is a choice."""

MAIN = Profile("6.12", "6.12", "intel", TRANSLATED, memory="2G")
PROFILES = (
    MAIN,
    Profile("noiommu", "6.12", "none", ("noiommu",)),
    Profile("6.1", "6.1", "intel", ("type1v2", "type1")),
    Profile("newest", "newest", "intel", TRANSLATED),
)
"""Each test runs in those of them that it is for."""
_OTHER_BARS = "rtl8139,pci-testdev:membar=16777216"
"""BARs smaller than a page, and larger than a huge one."""
SPECIAL = (
    Profile(
        "igb",
        "6.12",
        "intel",
        ("type1v2", "iommufd"),
        f"igb,{_OTHER_BARS},nec-usb-xhci:msi=on",
        ("igb",),
    ),
    Profile("igb-6.1", "6.1", "intel", ("type1v2",), "igb", ("igb",), guests="6.1"),
    Profile("igb-newest", "newest", "intel", ("iommufd",), "igb", ("igb",)),
    Profile(
        "unsafe",
        "6.12",
        "intel:intremap=off",
        ("type1v2", "iommufd", "iommufd-compat"),
        "edu,nec-usb-xhci:msi=on",
        ("edu",),
    ),
    Profile("large", "6.12", "intel", ("type1v2", "iommufd"), "nvme", ("nvme",), memory="5G"),
)
"""For the tests that name them by the mark `profiles`."""

_FOR_LINUX = (
    "nvme:size=320M,e1000e,igb,edu,xhci,ahci,bridge(nvme+nvme),bridge(virtio-net+virtio-blk)"
)


def _linux_lab(
    name: str, kernel: str, guests: str, backends: tuple[str, ...] = ("type1v2", "iommufd")
) -> Profile:
    cards = ("e1000e", "igb")
    return Profile(name, kernel, "intel", backends, _FOR_LINUX, cards, memory="3G", guests=guests)


PROOF = (
    _linux_lab("proof", "6.12", "6.12"),
    _linux_lab("proof-6.1", "6.1", "6.1", ("type1v2",)),
    _linux_lab("proof-newest", "newest", "newest", ("iommufd",)),
    _linux_lab("proof-6.1-in-6.12", "6.12", "6.1"),
    _linux_lab("proof-6.12-in-6.1", "6.1", "6.12", ("type1v2",)),
)
"""For the tests marked `proof`: Linux guests, which take long, and more devices."""
LINUX_LABS = tuple(profile.name for profile in PROOF)
"""All of them: each kernel with guests of its own, and of the other."""
BY_NAME = {profile.name: profile for profile in (*PROFILES, *SPECIAL, *PROOF)}
_OF_THE_LIBRARY = tuple(f"tests/lab/test_{part}" for part in ("device_", "dma_", "groups"))


def worker_of(test: str) -> str:
    """Of five workers the one that runs this lab test, by its node id; "" if it is none.

    Two share the main profile, of which one has what needs the VFIO library alone; two have the
    Linux guests, and one all other profiles: so no more than five labs run at once.
    """
    if not test.startswith("tests/lab/"):
        return ""
    parameters = test.partition("[")[2].removesuffix("]") + "-"
    named = [p for p in BY_NAME.values() if parameters.startswith(f"{p.name}-")]
    profile = max(named, key=lambda profile: len(profile.name))
    if profile is MAIN:
        return "library lab" if test.startswith(_OF_THE_LIBRARY) else "lab"
    if profile in PROOF:
        return "Linux lab" if profile is PROOF[0] else "other Linux labs"
    return "other labs"
