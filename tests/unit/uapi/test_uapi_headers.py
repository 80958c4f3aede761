# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The generator on headers made up for the test: what it reads, and what it refuses."""

from __future__ import annotations

import ctypes
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.uapi.layout import build

pytest.importorskip("clang.cindex", reason="no libclang: pip install -e '.[uapi]'")

from tools.uapi import emit
from tools.uapi.headers import Definitions, HeaderError, Member, read
from tools.uapi.verify import verify

SCALARS = {
    "unsigned char": "u8",
    "char": "u8",
    "signed char": "s8",
    "unsigned short": "u16",
    "short": "s16",
    "unsigned int": "u32",
    "int": "s32",
    "enum colour": "u32",
    "unsigned long long": "u64",
    "long": "s64",
    "void *": "ptr",
}


@pytest.fixture(scope="module")
def include(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A usr/include where all that kernel headers include is empty."""
    folder = tmp_path_factory.mktemp("include")
    for header in ("asm/bitsperlong", "linux/const", "linux/bits", "linux/errno"):
        path = folder / f"{header}.h"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return folder


def definitions(include: Path, text: str) -> Definitions:
    (include / "linux" / "test.h").write_text(text)
    return read(include, ["linux/test.h"])


def values(include: Path, text: str) -> dict[str, int | str]:
    return {c.name: c.value for c in definitions(include, text).constants}


def types(found: Definitions) -> dict[str, Any]:
    """The namespace of the generated module, after its types were checked."""
    text = emit.module(found, ["linux/test.h"], "test 1")
    verify(text, found)
    names: dict[str, Any] = {"__name__": "generated"}
    exec(text, names)
    return names


def test_constants_of_every_kind(include: Path) -> None:
    text = r"""
    #define DECIMAL 12
    #define SHIFTED (1u << 31)
    #define LARGEST (~0ull)
    #define NEGATIVE (-1)
    #define SIZE_OF sizeof(struct { long l; })
    #define STRING "a\0b"
    enum { FIRST = 5, SECOND };
    enum tagged { MINUS = -1, MORE = 1ull << 40 };
    """
    assert values(include, text) == {
        "DECIMAL": 12,
        "SHIFTED": 1 << 31,
        "LARGEST": (1 << 64) - 1,
        "NEGATIVE": -1,
        "SIZE_OF": 8,
        "STRING": "a\0b",
        "FIRST": 5,
        "SECOND": 6,
        "MINUS": -1,
        "MORE": 1 << 40,
    }


def test_macros_that_are_no_constants_are_left_out_however_many(include: Path) -> None:
    # More than a compiler's usual limit of errors, and one that breaks the line after it.
    bad = "".join(f"#define BAD{n} sizeof(struct unknown{n})\n" for n in range(30))
    text = bad + "#define GUARD\n#define OPEN (1 +\n#define CALL(x) x\n#define GOOD 1\n"
    assert values(include, text) == {"GOOD": 1}


def test_a_macro_that_announces_an_enumerator_is_that_enumerator(include: Path) -> None:
    text = "enum { ANNOUNCED = 3,\n#define ANNOUNCED ANNOUNCED\n};"
    assert values(include, text) == {"ANNOUNCED": 3}


def test_constants_of_other_headers_are_left_out(include: Path) -> None:
    (include / "linux" / "other.h").write_text("#define OTHER 1\nstruct other { int x; };")
    found = definitions(include, "#include <linux/other.h>\n#define MINE (OTHER + 1)\n")
    assert [(c.name, c.value) for c in found.constants] == [("MINE", 2)]
    assert found.records == []


def test_numbers_are_written_as_in_the_header(include: Path) -> None:
    found = definitions(include, "#define A 12\n#define B 0x0c\n#define C (1 << 4)\n")
    text = emit.module(found, ["linux/test.h"], "test 1")
    assert re.findall(r"^[ABC] = .*", text, re.M) == ["A = 12", "B = 0xc", "C = 0x10"]


def test_nested_types_are_named_after_the_one_around_them(include: Path) -> None:
    text = """
    struct outer {
        union { struct { int port; } io; unsigned char raw[8]; };
        struct tagged { int t; } member;
        union { int a; } arms[2];
        struct { unsigned char low:3, high:5; } bits;
    };
    """
    found = definitions(include, text)
    assert {record.name for record in found.records} == {
        "outer", "outer_anonymous_1", "outer_io", "tagged", "outer_arms", "outer_bits",
    }  # fmt: skip
    value = build("outer", types(found))()
    value.io.port = 7
    assert bytes(value.raw) == b"\7" + bytes(7)
    value.bits.high = 1
    assert bytes(value.bits) == b"\x08"


@pytest.mark.parametrize(
    "flexible", ["int rest[];", "int rest[0];", "struct { struct { } empty; int rest[]; };"]
)
def test_flexible_arrays_have_length_zero(include: Path, flexible: str) -> None:
    found = definitions(include, f"struct list {{ unsigned int n; {flexible} }};")
    assert found.records[-1].members[-1] == Member("rest", "s32[0]", 32)
    assert ctypes.sizeof(build("list", types(found))) == 4


def test_packed_structures(include: Path) -> None:
    found = definitions(include, "struct p { char a; long b; } __attribute__((packed));")
    assert ctypes.sizeof(build("p", types(found))) == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("struct s { no_such_type x; };", "the headers do not compile"),
        ("struct s { double d; };", r"s\.d: no ctypes type for double"),
        (
            "struct a_b { int x; }; struct a { struct { int y; } b; };",
            "two types would be called a_b",
        ),
    ],
)
def test_headers_that_cannot_be_expressed_are_refused(
    include: Path, text: str, message: str
) -> None:
    with pytest.raises(HeaderError, match=message):
        definitions(include, text)


@pytest.mark.parametrize(
    "text",
    [
        "struct s { char a; } __attribute__((aligned(64)));",
        "struct s { char a; int b __attribute__((aligned(8))); };",
    ],
)
def test_alignments_that_ctypes_lacks_are_refused(include: Path, text: str) -> None:
    found = definitions(include, text)
    with pytest.raises(HeaderError, match="ctypes"):
        types(found)


def bodies(keyword: str, depth: int) -> st.SearchStrategy[str]:
    """A structure's or union's members, each with % in place of its name."""
    scalars = st.sampled_from([f"{scalar} %" for scalar in SCALARS])
    arrays = st.builds("{} %[{}][{}]".format, scalar_names, st.integers(1, 5), st.integers(1, 3))
    members = scalars | arrays
    if keyword == "struct":
        # Of one type, and in structures only: elsewhere ctypes differs from the compilers.
        members |= st.integers(1, 8).map("unsigned char %:{}".format)
    if depth:
        nested = st.sampled_from(["struct", "union"]).flatmap(
            lambda inner: st.builds(
                "{} {{ {} }} {}".format,
                st.just(inner),
                bodies(inner, depth - 1),
                st.sampled_from(["%", "", "%[2]"]),
            )
        )
        members |= nested
    return st.lists(members, min_size=1, max_size=5).map(lambda texts: "; ".join([*texts, ""]))


scalar_names = st.sampled_from(sorted(SCALARS))


@given(body=bodies("struct", 2))
def test_any_layout_is_the_compilers(include: Path, body: str) -> None:
    number = itertools.count()
    body = re.sub("%", lambda _: f"m{next(number)}", body)
    found = definitions(include, f"enum colour {{ RED }};\nstruct any {{ {body} }};\n")
    types(found)  # raises where ctypes differs


def test_a_layout_that_ctypes_gets_wrong_is_refused(include: Path) -> None:
    found = definitions(include, "union u { unsigned char a:1; unsigned char b:1; };")
    with pytest.raises(HeaderError, match=r"u\.b: ctypes puts it elsewhere"):
        types(found)
