# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a device answers, in words, whatever number it answers with."""

from __future__ import annotations

import pytest

from pyvmm.vfio import DeviceError


@pytest.mark.parametrize(
    ("errno", "reason"),
    [
        (22, "EINVAL (Invalid argument)"),
        (0, "an error without a reason"),
        (None, "an error without a reason"),
        (0xFFFFFFFF, "errno 4294967295"),
        (4095, "errno 4095"),
    ],
)
def test_any_errno_has_words(errno: int | None, reason: str) -> None:
    error = DeviceError.answered("asking", errno, "ask again")
    assert str(error) == f"asking: {reason}; ask again"
    assert error.errno == (errno or 0)
