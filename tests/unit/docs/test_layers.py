# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The contracts of rooms that stand alone name all that they may not import."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
MODULES = {
    path.stem
    for path in (ROOT / "pyvmm").iterdir()
    if path.suffix == ".py" or (path / "__init__.py").exists()
} - {"__init__", "__main__"}

MAY_IMPORT = {
    "vfio": {"uapi"},
    "kvm": {"uapi"},
    "debian": {"uapi"},
    "lab": {"uapi", "_finding", "debian"},
}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_what_a_room_may_not_import(room: str) -> None:
    """A new room is one more of these."""
    (contract,) = (
        contract
        for contract in CONTRACTS
        if contract["type"] == "forbidden" and contract["source_modules"] == [f"pyvmm.{room}"]
    )
    forbidden = {name.removeprefix("pyvmm.") for name in contract["forbidden_modules"]}
    assert forbidden == MODULES - {room} - MAY_IMPORT[room]
