# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a guest has left for: the kernel's histograms are read, and sorted by kind."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.errors import BenchError
from bench.in_lab.exit_kinds import (
    CONFIG_SPACE,
    IN_KERNEL,
    MEMORY,
    OTHER_PORTS,
    SERIAL,
    by_kind,
    parse,
)

HISTOGRAM = """\
# event histogram
#
# trigger info: hist:keys=port.hex:vals=hitcount:sort=hitcount:size=65536 [active]
#

{ port:         80 } hitcount:          1
{ port:        3f8 } hitcount:         42

Totals:
    Hits: 43
    Entries: 2
    Dropped: 0
"""


def test_a_histogram_of_the_kernel() -> None:
    assert parse(HISTOGRAM) == {0x80: 1, 0x3F8: 42}
    assert parse(HISTOGRAM.replace("port:        3f8", "gpa:   fee000b0")) == {
        0x80: 1,
        0xFEE000B0: 42,
    }


def test_one_that_is_not_whole() -> None:
    with pytest.raises(BenchError, match="is not whole"):
        parse(HISTOGRAM.replace("Dropped: 0", "Dropped: 7"))
    with pytest.raises(BenchError, match="is not whole"):
        parse("")


def test_kinds() -> None:
    ports = {0x80: 1, 0x3F8: 42, 0x3FD: 3, 0xCF8: 2, 0xCFC: 2, 0x21: 4, 0x61: 1}
    addresses = {0xFEC00000: 5, 0xE0008000: 6, 0xC0001000: 7, 0xF0000000: 8}
    assert by_kind(ports, addresses, range(0xE0000000, 0xF0000000)) == Counter(
        {SERIAL: 45, CONFIG_SPACE: 10, IN_KERNEL: 10, OTHER_PORTS: 1, MEMORY: 15}
    )
