# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What Linux guests of lab tests boot is fetched and made on the host: the lab has no network.

A test says by the mark `boots` what it boots: a config's path in the checkout, or the keys of one
(kernel and initrd) as pyvmm.config.parse() takes them. In the lab it is in the cache then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from pyvmm.config import VmConfig, load, parse
from pyvmm.linux import prepare
from tests.conftest import ROOT


def config_of(booted: str | Mapping[str, object]) -> VmConfig:
    """The config that an argument of the mark stands for."""
    return load(ROOT / booted) if isinstance(booted, str) else parse(booted, base=ROOT)


def prepare_for(items: Iterable[pytest.Item]) -> None:
    """Have in the cache what these tests boot. Raises DebianError, LinuxError."""
    for item in items:
        for mark in item.iter_markers("boots"):
            for booted in mark.args:
                prepare(config_of(booted))
