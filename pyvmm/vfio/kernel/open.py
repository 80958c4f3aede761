# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""open_space(), open_device(): the best way into the kernel's VFIO there is, or a given one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from ..dma import DmaSpace
from ..errors import HostDeviceUnavailable, VfioError
from ..host import HostFunction, IommuGroup, groups, no_iommu
from .space import KernelSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uuid import UUID

    from .device import KernelDevice


def _ioas(root: str) -> KernelSpace:
    from .ioas import Ioas

    return Ioas(root=root)


def _container(name: str) -> Callable[[str], KernelSpace]:
    def make(root: str) -> KernelSpace:
        from .container import Container

        return Container(name, root=root)

    return make


def _no_iommu(root: str) -> KernelSpace:
    from .no_iommu import NoIommuSpace

    return NoIommuSpace(root=root)


_MAKERS: dict[str, Callable[[str], KernelSpace]] = {
    "iommufd": _ioas,
    "type1v2": _container("type1v2"),
    "iommufd-compat": _container("iommufd-compat"),
    "type1": _container("type1"),
    "noiommu": _no_iommu,
}

BACKENDS = tuple(_MAKERS)
"""The names of all back ends, the best first."""


class Backend(NamedTuple):
    """A way to do DMA, and why it is not there, "" if it is."""

    name: str
    missing: str

    @property
    def available(self) -> bool:
        return not self.missing


def backends(*, root: str = "/") -> tuple[Backend, ...]:
    """Which back ends this host offers this user, the best first."""
    return tuple(Backend(name, _missing(name, root)) for name in BACKENDS)


def open_space(backend: str | None = None, *, root: str = "/") -> KernelSpace:
    """A new DMA space: of the back end asked for, or of the best one there is.

    root is where the host's sys, proc and dev are. Raises HostDeviceUnavailable.
    """
    if backend is None:
        found = backends(root=root)
        backend = next((name for name, missing in found if not missing), None)
        if backend is None:
            reasons = "".join(f"\n  {name}: {missing}" for name, missing in found)
            raise HostDeviceUnavailable(f"this host offers no DMA space:{reasons}")
    elif backend not in _MAKERS:
        raise HostDeviceUnavailable(
            f"there is no back end {backend!r}: choose one of {', '.join(BACKENDS)}"
        )
    return _MAKERS[backend](root)


def open_device(
    bdf: str | None = None,
    *,
    fd: int | None = None,
    space: DmaSpace | None = None,
    backend: str | None = None,
    vf_token: UUID | str | None = None,
    root: str = "/",
) -> KernelDevice:
    """Open a device of this host by its PCI address, or by an open fd of its cdev.

    It joins the space, or has one of its own, which ends with it: of the back end asked for, or
    of the best there is for the device. vf_token is for a virtual function whose physical
    function is VFIO's, too. Raises HostDeviceUnavailable, VfioError.
    """
    if (bdf is None) == (fd is None):
        raise ValueError("give either bdf or fd")
    if fd is not None:
        from .cdev import function_of

        function_of(fd, root=root)  # before a space is opened, which may take the number
    if space is None:
        # Closed at once, it lives on until its only device is closed.
        with open_space(backend or best_backend(bdf, root), root=root) as own:
            return _open_in(own, bdf, fd, vf_token)
    if not isinstance(space, KernelSpace):
        raise HostDeviceUnavailable(
            f"a device of this host can't join a {type(space).__name__}: open_space() makes what "
            "it can join"
        )
    if backend not in (None, space.backend):
        raise HostDeviceUnavailable(f"the DMA space is {space.backend}, not {backend}")
    return _open_in(space, bdf, fd, vf_token)


def _open_in(
    space: KernelSpace, bdf: str | None, fd: int | None, vf_token: UUID | str | None
) -> KernelDevice:
    if bdf is not None:
        return space.open_device(bdf, vf_token=vf_token)
    from .ioas import Ioas

    if not isinstance(space, Ioas):
        raise HostDeviceUnavailable(
            f"fd {fd} is a device's cdev, which takes iommufd, not {space.backend}"
        )
    assert fd is not None
    return space.open_fd(fd, vf_token=vf_token)


def best_backend(bdf: str | None, root: str = "/") -> str | None:
    """The back end for a device of this host; None if it can be any.

    Of those whose files this user may open; if there is none, the one that would be the best.
    """
    if bdf is None:
        return "iommufd"
    function = HostFunction(bdf, root=root)
    if function.group is None:
        return "type1v2"
    group = IommuGroup.of(function)
    if group.no_iommu:
        return "noiommu"
    ways = {"type1v2": (group.device_path, os.path.join(root, "dev/vfio/vfio"))}
    iommufd = os.path.join(root, "dev/iommu")
    if function.vfio_cdev and os.path.exists(iommufd):
        ways = {"iommufd": (function.vfio_cdev, iommufd), **ways}
    may_be_opened = (name for name, paths in ways.items() if all(map(_may_open, paths)))
    return next(may_be_opened, next(iter(ways)))


def _may_open(path: str) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


def _missing(name: str, root: str) -> str:
    if name == "iommufd" and not os.path.isdir(os.path.join(root, "dev/vfio/devices")):
        return (
            "no device has a cdev: none is bound to vfio-pci, or the kernel is built without "
            "CONFIG_VFIO_DEVICE_CDEV"
        )
    try:
        _MAKERS[name](root).close()
    except VfioError as error:
        return str(error)
    if name != "noiommu" and all(group.no_iommu for group in groups(root=root)):
        return "; ".join(no_iommu(root))
    return ""
