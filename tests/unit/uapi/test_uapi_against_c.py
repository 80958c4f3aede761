# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The generated ABI against a C compiler: every size, offset, type, constant and ioctl number.

For each module a C program is written from what Python holds, compiled with gcc against the
headers the module comes from, and its report compared with Python's. What the headers define is
found by gcc's preprocessor, so that nothing can be missing either. Nothing here is the
generator's: it is libclang that reads the headers there.

Two sets of headers are compared with: the package's, and the system's. Only against the pinned
package everything has to be the same. The ABI is append-only, so any other kernel's headers must
agree wherever they have what Python has: only names can be absent on either side, and counts,
structures and what they hold larger on the newer one's.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import pytest

from tools.uapi.package import Pin

SYSTEM = Path("/usr/include")
HEADERS = {
    "kvm": ["linux/kvm.h", "asm/kvm.h", "linux/kvm_para.h", "asm/kvm_para.h"],
    "vfio": ["linux/vfio.h"],
    "iommufd": ["linux/iommufd.h"],
    "pci_regs": ["linux/pci_regs.h"],
    "eventfd": ["linux/eventfd.h"],
}
# What the headers take from others without including them; older kernels don't have them all.
CONTEXT = ["asm/bitsperlong.h", "linux/const.h", "linux/bits.h", "linux/errno.h"]

# Names of numbers that grow with the kernel: KVM_DEV_TYPE_MAX, VFIO_AP_NUM_IRQS.
COUNT = re.compile("_(MAX|NUM|NR)(_|$)")
# What gives way to new members.
PADDING = re.compile(r"\b(pad|padding|reserved)\d*\b")
# What the kernel corrected after all, since the headers of Debian 11.
CORRECTED = {
    "PCI_CAP_EXP_ENDPOINT_SIZEOF_V2",
    "PCI_REBAR_CAP_SIZES",
    "VFIO_DEVICE_STATE_STOP",  # from flags to an enum, before any driver came with them
    "VFIO_DEVICE_STATE_RUNNING",
    "struct kvm_vcpu_pv_apf_data",
}
# All of them, and those within a macro where it is used.
ERRORS_ONLY = ["-fsyntax-only", "-fmax-errors=0", "-ftrack-macro-expansion=0"]
# What gcc says where the headers don't have a name.
ABSENT = re.compile(
    "undeclared|has no member named|incomplete type|undefined type|storage size of"
    "|implicit declaration of function"
)

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
    """One statement of the program, and the line it must print.

    change is what another kernel's headers may differ in.
    """

    statement: str
    output: str
    change: Literal["none", "growth", "any"] = "none"


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
            change: Any = "growth" if COUNT.search(name) else "none"
            yield Line(f"INTEGER({name})", f"{name} {value}", change)


def kind(type_: Any) -> str:
    """What KIND() says of a scalar."""
    if type_ is ctypes.c_void_p:
        return "ptr"
    return f"{'s' if type_(-1).value < 0 else 'u'}{8 * ctypes.sizeof(type_)}"


def is_record(type_: type) -> bool:
    return issubclass(type_, (ctypes.Structure, ctypes.Union))


def element(type_: Any) -> Any:
    """What an array is made of in the end."""
    while issubclass(type_, ctypes.Array):
        type_ = type_._type_
    return type_


class Source(NamedTuple):
    """A usr/include with kernel headers; age is how old they are beside those of the pin.

    age is -1, 0 or 1: older, of the same kernel version, or newer; None for the very same.
    """

    include: Path
    age: int | None


def age(include: Path) -> int:
    text = (include / "linux" / "version.h").read_text()
    code = re.search(r"LINUX_VERSION_CODE (\d+)", text)
    pinned = re.match(r"(\d+)\.(\d+)", Pin.load().version)
    assert code is not None
    assert pinned is not None
    found, ours = int(code[1]) >> 8, int(pinned[1]) << 8 | int(pinned[2])
    return (found > ours) - (found < ours)


class Walk:
    """All members of one record with a tag, those of nested records included."""

    def __init__(self, tag: str, root: Any) -> None:
        self.tag = tag
        self.root = root
        self.seen: set[str] = set()

    def lines(self) -> Iterator[Line]:
        size = f"{ctypes.sizeof(self.root)}/{ctypes.alignment(self.root)}"
        yield Line(f"TYPE({self.tag})", f"{self.tag} {size}", "growth")
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
        change: Any = "any" if PADDING.search(path) else "none"
        yield Line(f"AT({self.tag}, {path})", f"{self.tag}.{path} {offset}", change)
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
        change: Any = "none"
        if PADDING.search(path):
            change = "any"
        elif is_record(element(type_)):
            change = "growth"
        return Line(f"SIZE({self.tag}, {path})", f"sizeof {self.tag}.{path} {size}", change)

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

    def __init__(self, gcc: Any, source: Source, name: str) -> None:
        self.source = source
        context = (f"#if __has_include(<{h}>)\n#include <{h}>\n#endif\n" for h in CONTEXT)
        ours = (f"#include <{header}>\n" for header in HEADERS[name])
        self.includes = "".join([*context, *ours])
        done = gcc(source.include, self.includes, ["-E", "-dD"])
        assert done.returncode == 0, done.stderr
        lines = list(self._own(done.stdout, name))
        assert lines, f"gcc read none of {HEADERS[name]} in {source.include}"
        # An object-like macro has a space after its name, and here something after that.
        self.macros = re.findall(r"^#define (\w+) +\S", "\n".join(lines), re.M)
        text = " ".join(line for line in lines if not line.startswith("#"))
        self.tags = {
            name: f"{keyword} {name}"
            for keyword, name in re.findall(r"\b(struct|union) (\w+)\s*\{", text)
        }
        bodies = re.findall(r"\benum\b(?: \w+)?\s*\{([^}]*)\}", text)
        self.enumerators = [n for body in bodies for n in re.findall(r"(?:^|,)\s*(\w+)", body)]

    def _own(self, text: str, name: str) -> Iterator[str]:
        """The lines that come from the module's headers themselves."""
        roots = (self.source.include, self.source.include / "x86_64-linux-gnu")
        files = {str(root / header) for header in HEADERS[name] for root in roots}
        own = False
        for line in text.splitlines():
            marker = re.match(r'# \d+ "(.*?)"', line)
            if marker:
                own = marker[1] in files
            elif own:
                yield line


@pytest.fixture(scope="session", params=["package", "system"])
def source(request: pytest.FixtureRequest) -> Source:
    if request.param == "package":
        found, include = request.getfixturevalue("package")
        return Source(include, None if found == Pin.load() else age(include))
    if not (SYSTEM / "linux" / "version.h").exists():
        pytest.skip(f"no kernel headers in {SYSTEM}: apt-get install libc6-dev")
    return Source(SYSTEM, age(SYSTEM))


@pytest.fixture(params=HEADERS)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return module_of(request.param)


@pytest.fixture
def headers(module: ModuleType, gcc: Any, source: Source) -> Preprocessed:
    name = module.__name__.rpartition(".")[2]
    if source.age == -1 and not (source.include / HEADERS[name][0]).exists():
        pytest.skip(f"{source.include} is of a kernel that had no {HEADERS[name][0]} yet")
    return Preprocessed(gcc, source, name)


def program(lines: list[Line], headers: Preprocessed) -> str:
    statements = "\n".join(line.statement for line in lines)
    return f"{headers.includes}{PROGRAM}{statements}\n}}\n"


def in_both(lines: list[Line], headers: Preprocessed, gcc: Any) -> list[Line]:
    """Those lines whose names the headers have too."""
    done = gcc(headers.source.include, program(lines, headers), ERRORS_ONLY)
    first = f"{headers.includes}{PROGRAM}".count("\n") + 1
    absent = set()
    for number, problem in re.findall(r"^<stdin>:(\d+):\d+: error: (.*)", done.stderr, re.M):
        line = lines[int(number) - first]
        assert ABSENT.search(problem), f"{line.statement}: {problem}"
        absent.add(line)
    print(f"not in {headers.source.include}:", *(line.statement for line in absent), sep="\n")
    return [line for line in lines if line not in absent]


def agree(c: str, line: Line, age: int | None) -> bool:
    """Whether what C says is what line has, or what it may be in headers of that age."""
    if c.rstrip() == line.output.rstrip():
        return True
    name, _, ours = line.output.rpartition(" ")
    if not age:
        return False
    if line.change == "growth" and name not in CORRECTED:
        theirs = c.rpartition(" ")[2]
        pairs = zip(theirs.split("/"), ours.split("/"), strict=True)
        return all((int(t) - int(o)) * age >= 0 for t, o in pairs)
    return line.change == "any" or name in CORRECTED


def differences(lines: list[Line], headers: Preprocessed, gcc: Any, folder: Path) -> list[str]:
    """Where C contradicts lines."""
    if headers.source.age is not None:
        lines = in_both(lines, headers, gcc)
    assert lines, "there is nothing to compare"
    path = folder / "program"
    compiled = gcc(headers.source.include, program(lines, headers), ["-O0", "-o", path])
    assert compiled.returncode == 0, compiled.stderr
    said = subprocess.run([path], capture_output=True, text=True, check=True).stdout
    return [
        f"C: {c}   Python: {line.output}"
        for c, line in zip(said.splitlines(), lines, strict=True)
        if not agree(c, line, headers.source.age)
    ]


@pytest.mark.headers
def test_constants_and_ioctl_numbers(
    module: ModuleType, headers: Preprocessed, gcc: Any, tmp_path: Path
) -> None:
    assert differences(list(constant_lines(module)), headers, gcc, tmp_path) == []


@pytest.mark.headers
def test_layouts(module: ModuleType, headers: Preprocessed, gcc: Any, tmp_path: Path) -> None:
    layouts = getattr(module, "_LAYOUTS", {})
    if not layouts:
        assert not headers.tags
        return
    walks = [
        Walk(spelling, getattr(module, tag))
        for tag, spelling in headers.tags.items()
        if headers.source.age is None or tag in layouts
    ]
    lines = [line for walk in walks for line in walk.lines()]
    assert differences(lines, headers, gcc, tmp_path) == []
    if headers.source.age is None:
        # Every type is one with a tag, or was met within one: none went unchecked.
        assert set().union(*(walk.seen for walk in walks)) == set(layouts)


def test_no_constant_is_missing(module: ModuleType, gcc: Any, include: Path) -> None:
    headers = Preprocessed(gcc, Source(include, None), module.__name__.rpartition(".")[2])
    present = constants(module)
    assert set(headers.enumerators) <= set(present)
    absent = [name for name in headers.macros if name not in present]
    first = headers.includes.count("\n") + 1
    text = headers.includes + "".join(f"enum {{ c_{name} = ({name}) }};\n" for name in absent)
    done = gcc(include, text, ERRORS_ONLY)
    errors = re.findall(r"^<stdin>:(\d+):\d+: error:", done.stderr, re.M)
    rejected = {int(line) - first for line in errors}
    forgotten = [name for number, name in enumerate(absent) if number not in rejected]
    assert not forgotten, "these are integers in C"
    assert set(present) <= {*headers.macros, *headers.enumerators}


INFO = "struct vfio_device_info {{ unsigned argsz, flags, num_regions, num_irqs, {}; }};"
SMALLER = "pad; short cap_offset, second"


@pytest.mark.parametrize(
    ("text", "age", "wrong"),
    [
        # Names that one side has not.
        ("#define EFD_CLOEXEC 0x80000\n#define OTHER 1", -1, []),
        ("#define EFD_CLOEXEC 0x80000\n#define OTHER 1", 0, []),
        ("#define EFD_CLOEXEC 0x80001", -1, ["EFD_CLOEXEC"]),
        ("#define EFD_CLOEXEC 0x80001", 1, ["EFD_CLOEXEC"]),
        # Counts, which only grow.
        ("#define VFIO_AP_NUM_IRQS 1", -1, []),
        ("#define VFIO_AP_NUM_IRQS 1", 0, ["VFIO_AP_NUM_IRQS"]),
        ("#define VFIO_AP_NUM_IRQS 1", 1, ["VFIO_AP_NUM_IRQS"]),
        ("#define VFIO_AP_NUM_IRQS 9", 1, []),
        # Structures, which get longer at their end.
        (INFO.format("cap_offset, pad"), 0, []),
        (INFO.format("cap_offset"), -1, []),
        (INFO.format("cap_offset"), 1, ["struct vfio_device_info"]),
        (INFO.format("cap_offset, pad, more, evenmore"), 1, []),
        (INFO.format("cap_offset, pad, more, evenmore"), -1, ["struct vfio_device_info"]),
        # Members that are not where they were, or not what they were.
        (INFO.format("more, cap_offset, pad"), 1, ["struct vfio_device_info.cap_offset"]),
        (INFO.format(SMALLER), 1, [f"{what}struct vfio_device_info.cap_offset"
                                   for what in ("", "sizeof ", "typeof ")]),
    ],
)  # fmt: skip
def test_other_kernels_headers_may_lack_names_and_grow_no_more(
    gcc: Any, tmp_path: Path, text: str, age: int, wrong: list[str]
) -> None:
    headers = made_up(text, age, gcc, tmp_path)
    lines = [*constant_lines(module_of("eventfd")), *constant_lines(module_of("vfio"))]
    lines = [line for line in lines if "_IRQS" in line.output or "EFD" in line.output]
    lines += Walk("struct vfio_device_info", module_of("vfio").vfio_device_info).lines()
    found = differences(lines, headers, gcc, tmp_path)
    assert [re.findall(r"C: (.*) \S+   Python:", one)[0] for one in found] == wrong


def test_what_no_longer_compiles_is_not_taken_for_absent(gcc: Any, tmp_path: Path) -> None:
    headers = made_up("#define EFD_CLOEXEC (1 +", 1, gcc, tmp_path)
    with pytest.raises(AssertionError, match=r"INTEGER\(EFD_CLOEXEC\): expected"):
        differences(list(constant_lines(module_of("eventfd"))), headers, gcc, tmp_path)


def test_headers_without_any_name_are_no_comparison(gcc: Any, tmp_path: Path) -> None:
    headers = made_up("#define OTHER 1", 1, gcc, tmp_path)
    with pytest.raises(AssertionError, match="there is nothing to compare"):
        differences(list(constant_lines(module_of("eventfd"))), headers, gcc, tmp_path)


def made_up(text: str, age: int, gcc: Any, folder: Path) -> Preprocessed:
    """A <linux/eventfd.h> with that text."""
    (folder / "linux").mkdir()
    (folder / "linux" / "eventfd.h").write_text(f"{text}\n")
    return Preprocessed(gcc, Source(folder, age), "eventfd")


@pytest.mark.parametrize(("version", "expected"), [(0x60100, -1), (0xFF0000, 1)])
def test_the_age_of_headers_is_told_by_their_version(
    tmp_path: Path, version: int, expected: int
) -> None:
    (tmp_path / "linux").mkdir()
    (tmp_path / "linux" / "version.h").write_text(f"#define LINUX_VERSION_CODE {version}\n")
    assert age(tmp_path) == expected
