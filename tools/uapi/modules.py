# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which headers make which module of pyvmm/uapi, and the text of every generated file."""

from __future__ import annotations

from pathlib import Path

from tools.uapi import emit, headers
from tools.uapi.verify import verify

FOLDER = Path(__file__).resolve().parents[2] / "pyvmm" / "uapi"

MODULES = {
    "kvm": ("linux/kvm.h", "asm/kvm.h", "linux/kvm_para.h", "asm/kvm_para.h"),
    "vfio": ("linux/vfio.h",),
    "iommufd": ("linux/iommufd.h",),
    "pci_regs": ("linux/pci_regs.h",),
    "eventfd": ("linux/eventfd.h",),
}


def generate(include: Path, package: str) -> dict[str, str]:
    """The text of each generated file, by its name in FOLDER.

    `include` is a usr/include with the headers, `package` says where they are from. Raises
    headers.HeaderError.
    """
    files = {}
    for module, names in MODULES.items():
        definitions = headers.read(include, names)
        text = emit.module(definitions, names, package)
        verify(text, definitions)
        files[f"{module}.py"] = text
        files[f"{module}.pyi"] = emit.stub(definitions, names, package)
    return files
