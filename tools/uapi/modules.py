# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which headers make which module of pyvmm/uapi, and the text of every generated file."""

from __future__ import annotations

from pathlib import Path

from tools.uapi import emit, headers

FOLDER = Path(__file__).resolve().parents[2] / "pyvmm" / "uapi"

MODULES = {
    "kvm": ("linux/kvm.h", "asm/kvm.h", "linux/kvm_para.h", "asm/kvm_para.h"),
    "vfio": ("linux/vfio.h",),
    "iommufd": ("linux/iommufd.h",),
    "pci_regs": ("linux/pci_regs.h",),
    "eventfd": ("linux/eventfd.h",),
}


def generate(include: Path, package: str) -> dict[Path, str]:
    """The files to write and their text, from the headers under `include` (a usr/include).

    `package` says which headers they are. Raises headers.HeaderError.
    """
    files = {}
    for module, names in MODULES.items():
        definitions = headers.read(include, names)
        files[FOLDER / f"{module}.py"] = emit.module(definitions, names, package)
        files[FOLDER / f"{module}.pyi"] = emit.stub(definitions, names, package)
    return files
