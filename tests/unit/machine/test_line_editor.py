# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""LineEditor: the lines that come of what is typed, and the screen that one sees meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.machine.line_editor import MAX_LINE, LineEditor

PROMPT = "> "
UP, DOWN = b"\x1b[A", b"\x1b[B"


class Screen:
    """A terminal as wide as one likes: its lines, the last of which is being typed."""

    def __init__(self) -> None:
        self.lines = [""]
        self.entered: list[str] = []
        self.editor = LineEditor(PROMPT, self.show, self.entered.append)
        self.editor.begin()

    def show(self, text: str) -> None:
        for part in text.replace("\r\x1b[K", "\f").replace("\r\n", "\n").replace("\f", "\0\f"):
            if part == "\n":
                self.lines.append("")
            elif part == "\f":
                self.lines[-1] = ""
            elif part != "\0":
                self.lines[-1] += part

    def type(self, *keys: bytes) -> None:
        for one in keys:
            self.editor.type(one)

    @property
    def line(self) -> str:
        assert self.lines[-1].startswith(PROMPT)
        return self.lines[-1].removeprefix(PROMPT)


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.mark.parametrize(
    ("typed", "entered", "line"),
    [
        (b"status", [], "status"),
        (b"status\r", ["status"], ""),
        (b"status\n", ["status"], ""),
        (b"a\rb\rc", ["a", "b"], "c"),
        (b"statys\x7f\x08us\r", ["status"], ""),
        (b"\x7f\x7fa\r", ["a"], ""),
        (b"some\x15more\r", ["more"], ""),
        (b"some\x03more\r", ["more"], ""),
        ("größe\x7f\x7f\x7fn\r".encode(), ["grn"], ""),
        (b"\t\x00\x0ca\r", ["a"], ""),
        (b"\xff\xfe\r", ["\ufffd\ufffd"], ""),
        (b"\x1b[C\x1b[1;5D\x1bOPx\r", ["x"], ""),
        (b"\r", [""], ""),
    ],
)
def test_lines(screen: Screen, typed: bytes, entered: list[str], line: str) -> None:
    screen.type(typed)
    assert (screen.entered, screen.line) == (entered, line)


def test_what_was_typed_before(screen: Screen) -> None:
    screen.type(b"one\r", b"two\r", b"two\r", b"  \r", b"begun")
    for keys, line in (
        (UP, "two"),
        (UP, "one"),
        (UP, "one"),
        (DOWN, "two"),
        (DOWN, ""),
        (DOWN, ""),
        (UP + UP + b"!", "one!"),
    ):
        screen.type(keys)
        assert screen.line == line
    screen.type(b"\r")
    assert screen.entered[-1] == "one!"
    screen.type(UP)
    assert screen.line == "one!"
    screen.type(b"\x03", UP)
    assert screen.line == "one!", "it is another line, and the history's last is the same"


def test_a_line_has_an_end(screen: Screen) -> None:
    screen.type(b"x" * (MAX_LINE + 100), b"\r")
    assert screen.entered == ["x" * MAX_LINE]


KEYS = st.sampled_from([b"\x7f", b"\x15", b"\x03", b"\r", UP, DOWN, b"\x1b", b"[", b"\x1bOA"])
TYPED = st.lists(KEYS | st.text(max_size=3).map(str.encode) | st.binary(max_size=2), max_size=30)


@given(TYPED)
def test_the_screen_shows_the_line(typed: list[bytes]) -> None:
    """Whatever was typed: what Enter gives is what one has seen."""
    screen = Screen()
    screen.type(*typed)
    screen.type(b"\x1b[0~")  # an end to whatever sequence was begun
    seen = screen.line
    screen.type(b"\r")
    assert screen.entered[-1] == seen


@given(st.lists(st.text(max_size=5).map(str.encode), max_size=10), st.data())
def test_it_does_not_matter_how_the_bytes_arrive(pieces: list[bytes], data: st.DataObject) -> None:
    whole, cut = Screen(), Screen()
    text = b"".join(pieces) + b"\r"
    at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    whole.type(text)
    cut.type(*(text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)))
    assert (whole.entered, whole.lines) == (cut.entered, cut.lines)
