# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""vfio-user: VFIO devices in other processes, over UNIX sockets."""

from __future__ import annotations

from .client import Client
from .dma_table import DmaTable
from .listening_socket import ListeningSocket
from .server import Server, serve

__all__ = ["Client", "DmaTable", "ListeningSocket", "Server", "serve"]
