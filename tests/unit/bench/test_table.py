# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The benchmarks' table, as text and as data."""

from __future__ import annotations

import json

import pytest

from bench.measure import Goal, Row
from bench.memory import status
from bench.table import Table, number

ROWS = (
    Row(
        "start",
        "ms",
        {"ours": [3.0, 2.0, 4.0], "theirs": [4.0, 4.0, 4.0]},
        (Goal("at most 0.5 of theirs", 0.75, met=False), Goal("9", 9, met=True)),
    ),
    Row("size", "MiB", {"ours": [1.0]}),
)

PLAIN = """\
       ours        theirs      others  goal

start  3 (2 to 4)  4                   at most 0.5 of theirs: 0.75, NOT MET
ms                 ratio 0.75          9: 9, met

size   1
MiB
"""


def table() -> Table:
    return Table("ours", ["theirs", "others"], ROWS)


def test_plain_text() -> None:
    assert table().plain() == PLAIN


def test_there_is_no_ratio_to_nothing() -> None:
    row = Row("exits", "per read", {"ours": [0.5], "theirs": [0.0]})
    assert Table("ours", ["theirs"], [row]).plain().splitlines()[2].split() == ["exits", "0.5", "0"]


def test_what_is_no_terminal_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    table().show()
    assert capsys.readouterr().out == PLAIN + "\n"


def test_data_has_every_sample_and_survives_json() -> None:
    data = table().data()
    assert json.loads(json.dumps(data)) == data
    assert data[0]["samples"] == {"ours": [3, 2, 4], "theirs": [4, 4, 4]}
    assert data[0]["summary"]["ours"] == {"median": 3, "low": 2, "high": 4}
    assert data[0]["ratio to"] == {"theirs": 0.75}
    assert data[0]["goals"][0] == {"text": "at most 0.5 of theirs", "value": 0.75, "met": False}
    assert data[1]["ratio to"] == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00225, "0.00225"), (1, "1"), (9.876, "9.88"), (98.76, "98.8"), (9876.5, "9876")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_sizes_out_of_proc_status() -> None:
    text = "Name:\tVmHWM: 7 kB\nVmHWM:\t   12345 kB\nThreads:\t2\nRssAnon:\t  678 kB\n"
    assert status(text) == {"VmHWM": 12345, "RssAnon": 678}
