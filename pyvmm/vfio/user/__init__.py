# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""vfio-user: VFIO devices in other processes, over UNIX sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...uapi.lazy import attributes

if TYPE_CHECKING:
    from .client import Client
    from .server import Server, serve

__all__ = ["Client", "Server", "serve"]

# A client has no use for the server, a model in this process for neither.
_HOMES = {
    "Client": "client",
    "Server": "server",
    "serve": "server",
}

__getattr__ = attributes(__name__, _HOMES)
