# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a device answers, in words, whatever number it answers with."""

from __future__ import annotations

import pytest

from pyvmm.vfio import BadAccess, DeviceError, DmaFault, InterruptTimeout, VfioError


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
    assert (error.cause, error.cure) == (f"asking: {reason}", "ask again")
    assert str(error) == f"asking: {reason}; ask again"
    assert error.errno == (errno or 0)


@pytest.mark.parametrize("kind", [VfioError, BadAccess, InterruptTimeout])
def test_a_cure_that_is_found_later_is_told(kind: type[VfioError]) -> None:
    error = kind("it is stuck")
    assert str(error) == "it is stuck"
    error.cure = "shake it"
    assert str(error) == "it is stuck; shake it"
    assert str(kind("it is stuck", "shake it")) == str(error)


def test_a_fault_has_a_cause() -> None:
    assert DmaFault(0x1000, 4).cause == "DMA to IOVA 0x1000+0x4: not mapped"
