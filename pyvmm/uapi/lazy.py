# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Names of a package that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def attributes(package: str, homes: dict[str, str]) -> Callable[[str], object]:
    """The package's ``__getattr__``: homes has the module, in the package, of each name."""

    def find(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{package}.{home}"), name)
        # The next use finds it; and a module of the same name doesn't hide it.
        setattr(sys.modules[package], name, value)
        return value

    return find
