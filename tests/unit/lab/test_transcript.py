# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a lab said can be told to the last, also when it has been closed by then."""

from __future__ import annotations

import os

from pyvmm.lab.transcript import Transcript


def test_the_end_of_it_before_and_after_it_is_closed(no_leaks: None) -> None:
    transcript = Transcript("test")
    assert transcript.tail == ""
    os.write(transcript.fileno(), b"first " + b"x" * 20_000 + b" \xff last")
    before = transcript.tail
    assert before.endswith("x \ufffd last")
    assert len(before) == 1 << 14
    for _ in range(2):
        transcript.close()
        assert transcript.tail == before
    assert transcript.fileno() == -1
