# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What of Debian's pyvmm knows, by name, and where the cache has it. Imports nothing."""

from __future__ import annotations

PREFIX = "debian:"
"""What a kernel's name begins with where it could be a path as well."""
VMLINUZ = "/vmlinuz"
"""What it ends with where the compressed image is meant."""

KERNEL_FOLDER = "kernels-1"
"""Where they are in the cache. The number goes up when what pyvmm makes of a package changes."""
BUSYBOX = "busybox"
"""Where Debian's is in the cache, and what it is called there."""

_META_PACKAGE = "linux-image-amd64"
_CLOUD_META_PACKAGE = "linux-image-cloud-amd64"

# The suites that have a kernel, the one that costs least first.
_SUITES = {
    "6.1": ("bookworm",),
    "6.12": ("bookworm-backports", "trixie"),
    "newest": ("trixie-backports", "sid"),
}

GENERIC = tuple(_SUITES)
"""For all machines: almost every driver is a module."""

KERNELS = {
    **{name: (_META_PACKAGE, suites) for name, suites in _SUITES.items()},
    **{f"{name}-cloud": (_CLOUD_META_PACKAGE, suites) for name, suites in _SUITES.items()},
}
"""By name, the package that depends on the newest one, and the suites it is in.

Those for clouds have few drivers, and NVMe's, PCI's and ext4 built in: they boot sooner.
"""


def is_debians(kernel: str) -> bool:
    """Whether a config's kernel is one of Debian's, and no path."""
    return kernel.startswith(PREFIX)


def parse(kernel: str) -> tuple[str, bool]:
    """The name of a config's kernel, and whether its vmlinuz is meant.

    Raises NoSuchKernel for the name of none.
    """
    name = kernel.removeprefix(PREFIX).removesuffix(VMLINUZ)
    if name in KERNELS:
        return name, kernel.endswith(VMLINUZ)
    import difflib

    from .errors import NoSuchKernel

    near = difflib.get_close_matches(name.lower(), KERNELS, n=1)
    meant = f"did you mean {PREFIX}{near[0]}? " if near else ""
    there_are = ", ".join(PREFIX + known for known in KERNELS)
    raise NoSuchKernel(f"there is no kernel {PREFIX}{name}", f"{meant}there are {there_are}")
