# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The section cpu of a VM's config: what the vCPUs are like."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from . import notation
from .errors import ConfigInvalid

_U32 = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]


class CpuidMask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bits of one register that CPUID answers with: first some are cleared, then some are set."""

    leaf: Annotated[
        _U32,
        Meta(
            description="The leaf: what EAX holds when the guest asks.",
            extra={"expected": "a number of 32 bits, such as 0x80000008"},
        ),
    ]
    subleaf: Annotated[
        _U32 | None,
        Meta(
            description="The sub-leaf: what ECX holds. Without it, all that the leaf has.",
            extra={"expected": "a number of 32 bits"},
        ),
    ] = None
    register: Annotated[
        Literal["eax", "ebx", "ecx", "edx"],
        Meta(
            description="The register of the answer.",
            extra={"expected": "one of eax, ebx, ecx and edx"},
        ),
    ]
    clear: Annotated[
        _U32,
        Meta(
            description="The bits to clear; 0xffffffff has set say all of it.",
            extra={"expected": "a number of 32 bits"},
        ),
    ] = 0
    set: Annotated[
        _U32,
        Meta(description="The bits to set.", extra={"expected": "a number of 32 bits"}),
    ] = 0

    def __post_init__(self) -> None:
        if not self.clear | self.set:
            raise ConfigInvalid("expected bits to clear or to set, got neither")


class Cpu(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the vCPUs are like, where that isn't the host's processors by way of KVM."""

    features: Annotated[
        dict[str, bool],
        Meta(
            description="Features by the names that /proc/cpuinfo has for them: false takes one "
            "from the guest; true has the run be refused on a host whose KVM can't give it.",
            extra={
                "expected": "a mapping of features to true or false, such as {avx2: false}",
                "notation": notation.features,
            },
        ),
    ] = field(default_factory=dict)
    cpuid: Annotated[
        tuple[CpuidMask, ...],
        Meta(
            description="Bits of CPUID's answers to clear and to set, one register each, after all "
            "else.",
            extra={
                "expected": "a list of mappings with leaf and register, and with clear or set",
                "each": "a mapping with leaf and register, and with clear or set",
            },
        ),
    ] = ()
    tsc_khz: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)] | None,
        Meta(
            description="The frequency of the time-stamp counter in kHz, on a host whose "
            "processors can scale it. Without it, the host's.",
            extra={"expected": "a number of kHz, from 1000 to 100000000"},
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.features:
            _check_features(self.features)


def _check_features(features: dict[str, bool]) -> None:
    """Raises ConfigInvalid for names that no feature has."""
    from pyvmm.kvm.cpu_features import FEATURES

    for name in features:
        if name not in FEATURES:
            import difflib

            near = difflib.get_close_matches(name.lower(), FEATURES, n=1)
            hint = f"did you mean {near[0]}?" if near else "/proc/cpuinfo has their names"
            raise ConfigInvalid(f"no such feature; {hint}", key=("features", name))
