# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Sizes, slots and paths as people write them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyvmm.config import notation
from pyvmm.config.document import plain_scalar
from pyvmm.lab.devices import parse_size
from pyvmm.models import ModelError
from pyvmm.models.options import Size


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("4096", 4096),
        ("64K", 64 << 10),
        ("64M", 64 << 20),
        ("64m", 64 << 20),
        ("64MiB", 64 << 20),
        ("64 MiB", 64 << 20),
        ("2G", 2 << 30),
        ("1T", 1 << 40),
    ],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert notation.size(text, "/") == bytes_


@pytest.mark.parametrize(
    "text", ["", "M", "64MB", "64X", "-1M", "1.5G", "64M ", "0x10", "1M\n", "\uff16M", "9" * 19]
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        notation.size(text, "/")


@given(st.integers(1, 31), st.integers(0, 7))
def test_a_slot_reads_as_it_is_written(device: int, function: int) -> None:
    devfn = device << 3 | function
    text = notation.slot_text(devfn)
    assert notation.slot(text, "/") == devfn
    assert notation.slot(text.upper().lstrip("0"), "/") == devfn
    # Without quotes too, although YAML sees a number in some of them.
    assert notation.slot(plain_scalar(text), "/") == devfn


@pytest.mark.parametrize("device", range(1, 10))
def test_a_digit_is_the_devices_number(device: int) -> None:
    assert notation.slot(device, "/") == notation.slot(f"{device}.0", "/") == device << 3


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (10, 'got 10: "0a.0" is device 10, "10.0" is device 16'),
        (16, 'got 16: "10.0" is device 16, "16.0" is device 22'),
        (19, 'got 19: "13.0" is device 19, "19.0" is device 25'),
        (20, 'got 20: "14.0"'),
        (31, 'got 31: "1f.0"'),
    ],
)
def test_a_larger_number_could_be_either(number: int, message: str) -> None:
    with pytest.raises(notation.Ambiguous) as caught:
        notation.slot(number, "/")
    assert str(caught.value) == f"expected a slot as lspci writes it, {message}"
    for spelling in re.findall('"(.*?)"', message):
        assert notation.slot(spelling, "/") in (number << 3, int(str(number), 16) << 3)


@pytest.mark.parametrize(
    "text", ["", "3", "03", "20.0", "03.8", "03:0", "3.", "003.0", "-3.0", "3.0\n"]
)
def test_no_slots(text: str) -> None:
    with pytest.raises(ValueError, match="no slot"):
        notation.slot(text, "/")


def test_paths_start_at_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert notation.path("../a/b.elf", "/etc/vms") == "/etc/a/b.elf"
    assert notation.path("/a", "/etc") == "/a"
    assert notation.path("~/a", "/etc") == "/home/me/a"
    assert notation.path(Path("a"), "/etc") == "/etc/a"


def test_a_rom_is_a_path_or_none() -> None:
    assert notation.rom("none", "/base") == "none"
    assert notation.rom("card.rom", "/base") == "/base/card.rom"
    assert notation.rom(None, "/base") is None


def test_serial_is_a_word_a_socket_or_a_path() -> None:
    for word in ("stdio", "none", "pty"):
        assert notation.serial(word, "/base") == word
        assert notation.serial(f"./{word}", "/base") == f"/base/{word}"
    assert notation.serial("unix:a/b", "/base") == "unix:/base/a/b"
    assert notation.serial("./unix:a", "/base") == "/base/unix:a"
    assert notation.serial(3, "/base") == 3


def test_sockets() -> None:
    assert notation.socket("unix:/a/../b", "/base") == "unix:/b"
    assert notation.socket("unix:~/s", "/base") == f"unix:{Path.home()}/s"
    assert notation.socket(None, "/base") is None
    for wrong in ("", "unix:", "/a", "tcp:1"):
        with pytest.raises(ValueError, match="no socket"):
            notation.socket(wrong, "/base")


@pytest.mark.parametrize("value", [None, True, 3, [], {}])
def test_what_has_no_notation_is_left_to_the_schema(value: object) -> None:
    assert notation.size(value, "/") is value
    assert notation.path(value, os.sep) is value


@given(st.from_regex(r"[0-9]{0,19} {0,2}[KMGTkmgtP]?[iI]?[bB]?\n?", fullmatch=True))
@example("64iB")
@example("64 MiB")
@example("64 ")
@example("64Mib")
def test_sizes_are_written_alike_everywhere(text: str) -> None:
    """Of a VM, of a model, and of a lab's disk: 0 aside, and more than a VM or a model takes."""

    def told(parse: Callable[[str], object]) -> object:
        try:
            return parse(text) or None
        except (ValueError, ModelError):
            return None

    lab = told(parse_size)
    assert isinstance(lab, int | None)
    fits = lab is not None and lab <= notation.MOST_MEMORY
    assert told(lambda text: notation.size(text, "/")) == (lab if fits else None)
    fits = lab is not None and lab < 1 << 62
    assert told(Size("size", 1, "").parse) == (lab if fits else None)
