# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The generated files are what the generator makes of the pinned headers, and agree in pairs."""

from __future__ import annotations

import ast
import ctypes
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.uapi.package import Pin

FOLDER = Path(__file__).resolve().parents[3] / "pyvmm" / "uapi"
NAMES = ["kvm", "vfio", "iommufd", "pci_regs", "eventfd"]


def generator(*arguments: str) -> int:
    pytest.importorskip("clang.cindex", reason="no libclang: pip install -e '.[uapi]'")
    from tools.uapi.__main__ import main

    return main(arguments)


@pytest.mark.usefixtures("include")
def test_generated_again_the_committed_files_come_out() -> None:
    assert generator("--check") == 0


def test_check_notices_a_difference_and_writes_nothing(
    package: tuple[Pin, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tools.uapi.__main__.include_folder", lambda pin, deb: package[1])
    monkeypatch.setattr("tools.uapi.__main__.FOLDER", tmp_path)
    assert generator() == 0
    assert generator("--check") == 0
    altered = tmp_path / "kvm.py"
    altered.write_text(altered.read_text().replace("KVM_RUN = ", "KVM_RUN = 1 + "))
    text = altered.read_text()
    capsys.readouterr()
    assert generator("--check") == 1
    assert capsys.readouterr().out == f"{altered}: not what the headers say\n"
    assert altered.read_text() == text


def test_files_name_the_pinned_package() -> None:
    pin = Pin.load()
    for name in NAMES:
        for suffix in ("py", "pyi"):
            text = (FOLDER / f"{name}.{suffix}").read_text()
            assert f"Generated from Debian's {pin.package} {pin.version} by" in text


class Stub:
    """Constants, and members of each class, that a .pyi file declares."""

    def __init__(self, name: str) -> None:
        self.constants: dict[str, Any] = {}
        self.classes: dict[str, dict[str, str]] = {}
        for node in ast.parse((FOLDER / f"{name}.pyi").read_text()).body:
            if isinstance(node, ast.AnnAssign) and node.value:
                self.constants[ast.unparse(node.target)] = ast.literal_eval(node.value)
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name] = {
                    ast.unparse(item.target): ast.unparse(item.annotation)
                    for item in node.body
                    if isinstance(item, ast.AnnAssign)
                }


@pytest.mark.parametrize("name", NAMES)
def test_stub_agrees_with_its_module(name: str) -> None:
    stub = Stub(name)
    module = importlib.import_module(f"pyvmm.uapi.{name}")
    names = {n for n in dir(module) if n.isupper() or isinstance(getattr(module, n), int)}
    names -= {"_LAYOUTS"}
    assert {n: getattr(module, n) for n in names} == stub.constants
    assert set(stub.classes) == set(getattr(module, "_LAYOUTS", {}))
    for class_name, members in stub.classes.items():
        type_ = getattr(module, class_name)
        for member, annotation in members.items():
            assert annotation == annotation_of(type_, member), f"{class_name}.{member}"


def annotation_of(record: Any, member: str) -> str:
    value = getattr(record(), member)
    if isinstance(value, ctypes.Array):
        return array_annotation(type(value))
    if isinstance(value, (ctypes.Structure, ctypes.Union)):
        return type(value).__name__
    return "int | None" if value is None else "int"


def array_annotation(type_: Any) -> str:
    element = type_._type_
    if issubclass(element, ctypes.Array):
        return f"Array[{array_annotation(element)}]"
    if issubclass(element, (ctypes.Structure, ctypes.Union)):
        return f"Array[{element.__name__}]"
    sign = "u" if element(-1).value > 0 else ""
    return f"Array[ctypes.c_{sign}int{8 * ctypes.sizeof(element)}]"


def test_importing_builds_no_type_and_draws_in_little() -> None:
    code = """
import ctypes, sys
before = set(sys.modules)
import pyvmm.uapi.kvm as kvm, pyvmm.uapi.vfio, pyvmm.uapi.ioctl
print(*set(sys.modules) - before)
print(*(name for name, value in vars(kvm).items() if isinstance(value, type)))
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=FOLDER.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    modules, types = done.stdout.split("\n")[:2]
    ours = {name for name in modules.split() if name.startswith("pyvmm")}
    assert set(modules.split()) - ours <= {"__future__", "errno"}
    assert ours == {
        "pyvmm",
        *(f"pyvmm.uapi{name}" for name in ("", ".ioctl", ".kvm", ".layout", ".vfio")),
    }
    assert types == ""
