# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""open(): a device by where it is, on the host's PCI bus or behind a vfio-user socket."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..address import parse
from ..errors import DeviceGone, VfioError
from .loss import Loss
from .pci_device import PciDevice

if TYPE_CHECKING:
    from uuid import UUID

    from ..kernel.space import KernelSpace


def open(
    where: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    space: KernelSpace | None = None,
    backend: str | None = None,
    vf_token: UUID | str | None = None,
    timeout: float | None = None,
    bus_master: bool = True,
) -> PciDevice:
    """Open a device to drive it.

    `where` is a PCI address such as "0000:01:00.0", of a device that is bound to vfio-pci, or
    the path of a socket that a vfio-user server listens on.

    For devices of the host: `space` shares its DMA mappings with other devices; `backend` is
    "iommufd", "iommufd-compat", "type1v2", "type1" or "noiommu" instead of the best there is;
    `vf_token` is the secret of a virtual function's owner. For vfio-user: `timeout` is how many
    seconds an answer may take. `bus_master` is as for PciDevice. Raises VfioError.
    """
    where = os.fsdecode(where)
    address = parse(where)
    if address:
        if timeout is not None:
            raise VfioError(f"opening {address}: timeout is for vfio-user servers only")
        from ..kernel.open import open_device

        device = open_device(address, space=space, backend=backend, vf_token=vf_token)
        return PciDevice(device, bus_master=bus_master)
    if space is not None or backend is not None or vf_token is not None:
        kernels = "space, backend and vf_token are for devices of the host only"
        raise VfioError(f"opening {where}: {kernels}, given as 0000:01:00.0 or alike")
    if os.sep not in where and not os.path.exists(where):
        raise DeviceGone(
            f"opening {where}: it is neither a PCI address such as 0000:01:00.0 nor a socket"
        )
    from ..user.channel import DEFAULT_TIMEOUT
    from ..user.client import Client

    loss = Loss()
    client = Client.connect(
        where,
        timeout=DEFAULT_TIMEOUT if timeout is None else timeout,
        on_gone=loss.happened,
    )
    return PciDevice(client, loss, bus_master=bus_master)
