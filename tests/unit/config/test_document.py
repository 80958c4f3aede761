# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""YAML text to plain data: scalars, lines, aliases, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.config import ConfigSyntaxError
from pyvmm.config.document import MAX_DEPTH, MAX_VALUES, parse


def data(text: str) -> object:
    return parse(text, "vm.yaml", "/").data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("12", 12),
        ("-3", -3),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2.5", 2.5),
        ("1e3", 1000.0),
        ("03.0", 3.0),
        ("1f.0", "1f.0"),
        (".inf", ".inf"),
        ("2024-01-32", "2024-01-32"),
        ("64M", "64M"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("''", ""),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = data(text)
    assert found == value
    assert type(found) is type(value)


def test_each_value_knows_its_line() -> None:
    document = parse("a: 1\n\nb:\n  - x\n  - c: 2\n    d:\n      3\n", "vm.yaml", "/base")
    assert document.data == {"a": 1, "b": ["x", {"c": 2, "d": 3}]}
    lines = {key: origin.line for key, origin in document.origins.items()}
    assert lines == {
        (): 1,
        ("a",): 1,
        ("b",): 3,
        ("b", 0): 4,
        ("b", 1): 5,
        ("b", 1, "c"): 5,
        ("b", 1, "d"): 6,
    }
    assert document.origin(("b", 1, "nothing", 7)).line == 5
    assert document.value(("b", 1, "d")) == 3


def test_an_alias_stands_for_its_anchor() -> None:
    assert data("a: &one {x: 1}\nb: [*one, *one]") == {"a": {"x": 1}, "b": [{"x": 1}, {"x": 1}]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,", "vm.yaml:1:7: not YAML: while parsing a flow node: "),
        ("a: 1\n  b: 2", "vm.yaml:2:4: not YAML: mapping values are not allowed here"),
        ("a: b\nc:\n\t- d", "vm.yaml:3:1: not YAML: while scanning for the next token: found char"),
        ("x: y\nab: \x07", "vm.yaml:2:5: not YAML: the character U+0007 is not allowed"),
        ("a: 1\nb: 2\na: 3", "vm.yaml:3:1: the key a is here already, on line 1"),
        ("a: 1\n---\nb: 2", "vm.yaml:2:1: expected one document, got another"),
        ("a: !!python/name:os.system x", "vm.yaml:1:4: a config has no tags, got tag:yaml.org"),
        ("a: !mine x", "vm.yaml:1:4: a config has no tags, got !mine"),
        ("3: a", "vm.yaml:1:1: expected text for a key"),
        ("? [a]\n: b", "vm.yaml:1:3: expected text for a key"),
        ("a: *b", "vm.yaml:1:4: the alias *b comes before its anchor is complete"),
        ("a: &a [*a]", "vm.yaml:1:8: the alias *a comes before its anchor is complete"),
        ('a: "\\0"', "vm.yaml:1:4: the character U+0000 is not allowed"),
        ('a: "\\ud800"', "vm.yaml:1:4: the character U+D800 is not allowed"),
        ("a: " + "9" * 5000, "vm.yaml:1:4: a number of more than 64 characters"),
        ("[" * 3000, f"vm.yaml:1:{MAX_DEPTH + 2}: nested too deeply"),
        ("- 1\n" * (MAX_VALUES + 1), f"vm.yaml:{MAX_VALUES}:3: too many values"),
    ],
)
def test_what_is_no_config_is_refused_where_it_stands(text: str, message: str) -> None:
    with pytest.raises(ConfigSyntaxError) as caught:
        data(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_bomb_of_aliases_is_refused_before_it_is_written_out() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 30):
        items = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{items}]")
    with pytest.raises(ConfigSyntaxError, match="too many values"):
        data("\n".join(lines))


@given(st.text(alphabet="ab:-[]{},&*!|>'\"%@#? \n\t0.~\0\ud800\x85", max_size=40))
def test_any_text_is_data_or_a_syntax_error(text: str) -> None:
    try:
        document = parse(text, "vm.yaml", "/")
    except ConfigSyntaxError:
        return
    for key in document.origins:
        document.value(key)
