# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What Linux guests of lab tests boot is fetched and made on the host: the lab has no network.

A test says by the mark `boots` what it boots: a config's path in the checkout, or the keys of one
(kernel and initrd) as pyvmm.config.parse() takes them. In the lab it is in the cache then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import pytest

from pyvmm.config import VmConfig, load, parse
from pyvmm.linux import prepare
from tests.conftest import ROOT
from tests.lab.profiles import BY_NAME

GUESTS = "{guests}"
"""In a kernel's name: which of Debian's the guests of the test's profile have"""


def config_of(booted: str | Mapping[str, object]) -> VmConfig:
    """The config that an argument of the mark stands for."""
    return load(ROOT / booted) if isinstance(booted, str) else parse(booted, base=ROOT)


def for_profile(booted: Mapping[str, object], profile: str) -> dict[str, object]:
    """The same, with the kernel that guests have there."""
    kernel = str(booted["kernel"]).replace(GUESTS, BY_NAME[profile].guests)
    return {**booted, "kernel": kernel}


def prepare_for(items: Iterable[pytest.Item]) -> None:
    """Have in the cache what these tests boot. Raises DebianError, LinuxError."""
    for item in items:
        for mark in item.iter_markers("boots"):
            for booted in mark.args:
                if not isinstance(booted, str):
                    profile = cast(pytest.Function, item).callspec.params["profile"]
                    booted = for_profile(booted, str(profile))
                prepare(config_of(booted))
