# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The generated ABI against a C compiler: every size, offset, type, constant and ioctl number.

For each module a C program is written from what Python holds, compiled with gcc against the
headers the module comes from, and its report compared with Python's. What the headers define is
found by gcc's preprocessor, so that nothing can be missing either. Nothing here is the
generator's: it is libclang that reads the headers there.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

HEADERS = {
    "kvm": ["linux/kvm.h", "asm/kvm.h", "linux/kvm_para.h", "asm/kvm_para.h"],
    "vfio": ["linux/vfio.h"],
    "iommufd": ["linux/iommufd.h"],
    "pci_regs": ["linux/pci_regs.h"],
    "eventfd": ["linux/eventfd.h"],
}
# What the headers take from others without including them.
CONTEXT = ["asm/bitsperlong.h", "linux/const.h", "linux/bits.h", "linux/errno.h"]

PROGRAM = """
#include <stddef.h>
#include <stdio.h>
#include <string.h>
static void hex(const void *p, size_t n) {
    for (size_t i = 0; i < n; i++) printf("%02x", ((const unsigned char *)p)[i]);
    puts("");
}
#define KIND(x) _Generic((x), char: "u8", unsigned char: "u8", unsigned short: "u16", \\
    unsigned int: "u32", unsigned long: "u64", unsigned long long: "u64", signed char: "s8", \\
    short: "s16", int: "s32", long: "s64", long long: "s64", \\
    default: __builtin_classify_type(x) == 5 ? "ptr" : "none of these")
#define INTEGER(n) printf((n) < 0 ? "%s %lld\\n" : "%s %llu\\n", #n, (long long)(n));
#define STRING(n) printf("%s ", #n); hex(n, sizeof(n) - 1);
#define TYPE(t) printf("%s %zu/%zu\\n", #t, sizeof(t), _Alignof(t));
#define AT(t, m) printf("%s.%s %zu\\n", #t, #m, offsetof(t, m));
#define SIZE(t, m) printf("sizeof %s.%s %zu\\n", #t, #m, sizeof(((t *)0)->m));
#define SCALAR(t, m) printf("typeof %s.%s %s\\n", #t, #m, KIND(((t *)0)->m));
#define BITS(t, m) { t x; memset(&x, 0, sizeof x); x.m = ~0; printf("%s.%s ", #t, #m); \\
    hex(&x, sizeof x); }
int main(void) {
"""


class Line(NamedTuple):
    """One statement of the program, and the line it must print."""

    statement: str
    output: str


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"pyvmm.uapi.{name}")


def constants(module: ModuleType) -> dict[str, int | str]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, (int, str)) and not re.fullmatch("__.*__", name)
    }


def constant_lines(module: ModuleType) -> Iterator[Line]:
    for name, value in constants(module).items():
        if isinstance(value, str):
            yield Line(f"STRING({name})", f"{name} {value.encode().hex()}")
        else:
            yield Line(f"INTEGER({name})", f"{name} {value}")


def kind(type_: Any) -> str:
    """What KIND() says of a scalar."""
    if type_ is ctypes.c_void_p:
        return "ptr"
    return f"{'s' if type_(-1).value < 0 else 'u'}{8 * ctypes.sizeof(type_)}"


def is_record(type_: type) -> bool:
    return issubclass(type_, (ctypes.Structure, ctypes.Union))


class Walk:
    """All members of one record with a tag, those of nested records included."""

    def __init__(self, tag: str, root: Any) -> None:
        self.tag = tag
        self.root = root
        self.seen: set[str] = set()

    def lines(self) -> Iterator[Line]:
        size = f"{ctypes.sizeof(self.root)}/{ctypes.alignment(self.root)}"
        yield Line(f"TYPE({self.tag})", f"{self.tag} {size}")
        yield from self._members(self.root, "", 0)

    def _members(self, record: Any, prefix: str, base: int) -> Iterator[Line]:
        self.seen.add(record.__name__)
        for name, type_, *width in record._fields_:
            offset = base + getattr(record, name).offset
            if name in getattr(record, "_anonymous_", ()):
                yield from self._members(type_, prefix, offset)
            elif width:
                yield self._bit_field(prefix + name)
            else:
                yield from self._member(prefix + name, type_, offset)

    def _member(self, path: str, type_: Any, offset: int) -> Iterator[Line]:
        yield Line(f"AT({self.tag}, {path})", f"{self.tag}.{path} {offset}")
        while issubclass(type_, ctypes.Array):
            if type_._length_:  # C has no sizeof of a flexible array
                yield self._size(path, type_)
            path, type_ = f"{path}[0]", type_._type_
        yield self._size(path, type_)
        if is_record(type_):
            yield from self._members(type_, f"{path}.", offset)
        else:
            where = f"{self.tag}.{path}"
            yield Line(f"SCALAR({self.tag}, {path})", f"typeof {where} {kind(type_)}")

    def _size(self, path: str, type_: Any) -> Line:
        size = ctypes.sizeof(type_)
        return Line(f"SIZE({self.tag}, {path})", f"sizeof {self.tag}.{path} {size}")

    def _bit_field(self, path: str) -> Line:
        value = self.root()
        *outer, name = path.replace("[0]", ".[0]").split(".")
        holder = value
        for step in outer:
            holder = holder[0] if step == "[0]" else getattr(holder, step)
        setattr(holder, name, -1)
        return Line(f"BITS({self.tag}, {path})", f"{self.tag}.{path} {bytes(value).hex()}")


class Preprocessed:
    """What gcc's preprocessor says that a module's headers define."""

    def __init__(self, gcc: Any, include: Path, name: str) -> None:
        self.includes = "".join(f"#include <{header}>\n" for header in CONTEXT + HEADERS[name])
        done = gcc(self.includes, ["-E", "-dD"])
        assert done.returncode == 0, done.stderr
        roots = (include, include / "x86_64-linux-gnu")
        files = {str(root / header) for header in HEADERS[name] for root in roots}
        ours = False
        lines = []
        for line in done.stdout.splitlines():
            marker = re.match(r'# \d+ "(.*?)"', line)
            if marker:
                ours = marker[1] in files
            elif ours:
                lines.append(line)
        assert lines, f"gcc read none of {files}"
        # An object-like macro has a space after its name, and here something after that.
        self.macros = re.findall(r"^#define (\w+) +\S", "\n".join(lines), re.M)
        text = " ".join(line for line in lines if not line.startswith("#"))
        self.tags = {
            name: f"{keyword} {name}"
            for keyword, name in re.findall(r"\b(struct|union) (\w+)\s*\{", text)
        }
        bodies = re.findall(r"\benum\b(?: \w+)?\s*\{([^}]*)\}", text)
        self.enumerators = [n for body in bodies for n in re.findall(r"(?:^|,)\s*(\w+)", body)]


@pytest.fixture(params=HEADERS)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return module_of(request.param)


@pytest.fixture
def headers(module: ModuleType, gcc: Any, include: Path) -> Preprocessed:
    return Preprocessed(gcc, include, module.__name__.rpartition(".")[2])


def compare(lines: list[Line], headers: Preprocessed, gcc: Any, tmp_path: Path) -> None:
    program = tmp_path / "program"
    statements = "\n".join(line.statement for line in lines)
    compiled = gcc(f"{headers.includes}{PROGRAM}{statements}\n}}\n", ["-O0", "-o", program])
    assert compiled.returncode == 0, compiled.stderr
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    wanted = [line.output for line in lines]
    wrong = [
        f"C: {c}   Python: {python}"
        for c, python in zip(said.splitlines(), wanted, strict=True)
        if c.rstrip() != python.rstrip()
    ]
    assert not wrong, "\n".join(wrong)


def test_constants_and_ioctl_numbers(
    module: ModuleType, headers: Preprocessed, gcc: Any, tmp_path: Path
) -> None:
    compare(list(constant_lines(module)), headers, gcc, tmp_path)


def test_layouts(module: ModuleType, headers: Preprocessed, gcc: Any, tmp_path: Path) -> None:
    walks = [Walk(spelling, getattr(module, tag)) for tag, spelling in headers.tags.items()]
    compare([line for walk in walks for line in walk.lines()], headers, gcc, tmp_path)
    # Every type is one with a tag, or was met within one: none went unchecked.
    seen = set().union(*(walk.seen for walk in walks))
    assert seen == set(getattr(module, "_LAYOUTS", {}))


def test_no_constant_is_missing(module: ModuleType, headers: Preprocessed, gcc: Any) -> None:
    present = constants(module)
    assert set(headers.enumerators) <= set(present)
    absent = [name for name in headers.macros if name not in present]
    first = headers.includes.count("\n") + 1
    source = headers.includes + "".join(f"enum {{ c_{name} = ({name}) }};\n" for name in absent)
    done = gcc(source, ["-fsyntax-only", "-fmax-errors=0"])
    rejected = {int(line) - first for line in re.findall(r"^<stdin>:(\d+):", done.stderr, re.M)}
    forgotten = [name for number, name in enumerate(absent) if number not in rejected]
    assert not forgotten, "these are integers in C"
    assert set(present) <= {*headers.macros, *headers.enumerators}
