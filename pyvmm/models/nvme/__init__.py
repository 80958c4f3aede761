# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""nvme: an NVM Express controller, version 1.4, on files or block devices of this host.

Sections that comments name are those of the NVM Express Base Specification, revision 1.4.
"""

from __future__ import annotations

from .controller import Nvme

__all__ = ["Nvme"]
