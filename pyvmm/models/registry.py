# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The models that pyvmm brings, by name, with their options; made without importing the others.

And those of one's own, whose names are files: see own_model.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from . import own_model
from .defaults import BLOCK_SIZE, BLOCK_SIZES, DRIVE_SIZE, EDU_DMA_MASK, SERIAL_LENGTH
from .errors import ModelError
from .options import Choice, File, Files, Number, Option, Size, Switch, Text, instead, parse_all

if TYPE_CHECKING:
    from .model import Model


class Entry(NamedTuple):
    """One model: what it is, in a line, and where its class is."""

    description: str
    module: str
    name: str
    options: tuple[Option, ...] = ()


MODELS: Mapping[str, Entry] = {
    "edu": Entry(
        "QEMU's educational device: factorials, interrupts and DMA (1234:11e8)",
        "edu",
        "Edu",
        (Number("dma_mask", EDU_DMA_MASK, 0xFFFFFFFF_FFFFFFFF, "the address bits its DMA has"),),
    ),
    "nvme": Entry(
        "an NVMe 1.4 controller on files, block devices or memory (1234:0011)",
        "nvme",
        "Nvme",
        (
            Files("files", "a file or block device for each namespace; without, one in memory"),
            Size("size", DRIVE_SIZE, "the bytes of the namespace in memory"),
            Choice("block_size", BLOCK_SIZE, BLOCK_SIZES, "the bytes of a block"),
            Switch("read_only", False, "whether writes are refused, and files only read"),
            Text(
                "serial",
                "",
                SERIAL_LENGTH,
                "the serial number; without, one by the host and the first file's path",
            ),
            Switch(
                "ioeventfd",
                False,
                "whether the guest rings I/O queues without an exit to Python; only for guests "
                "that set up doorbell buffers, as Linux does",
            ),
        ),
    ),
    "testdev": Entry(
        "pyvmm's test device: every kind of BAR, capability and interrupt (1234:7e57)",
        "testdev",
        "TestDevice",
    ),
    "virtio-blk": Entry(
        "a virtio drive on a file, a block device or memory (1af4:1042)",
        "virtio",
        "VirtioBlk",
        (
            File("file", "the file or block device; without, the drive is in memory"),
            Size("size", DRIVE_SIZE, "the bytes of a drive in memory"),
            Choice("block_size", BLOCK_SIZE, BLOCK_SIZES, "the bytes of a block"),
            Switch("read_only", False, "whether writes are refused, and the file only read"),
            Text(
                "serial", "", 20, "the serial number; without, one by the host and the file's path"
            ),
        ),
    ),
    "virtio-console": Entry(
        "a virtio console at a UNIX socket (1af4:1043)",
        "virtio",
        "VirtioConsole",
        (File("socket", "where one client at a time has it; without, nobody hears the guest"),),
    ),
    "virtio-rng": Entry("a virtio source of random numbers (1af4:1044)", "virtio", "VirtioRng"),
}


def create(name: str, options: Mapping[str, object] | None = None) -> Model:
    """Make the model called `name`. The caller closes it. Raises ModelError."""
    if own_model.is_own(name):
        return own_model.create(name, options)
    arguments = check(name, options)
    entry = MODELS[name]
    module = importlib.import_module(f".{entry.module}", __package__)
    model: Model = getattr(module, entry.name)(name, **arguments)
    return model


def check(name: str, options: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Make sure that `create` would take these, and return the options' values.

    A file is not imported: whether there is one is all that is known of it. Raises ModelError,
    which names what is wrong and what would be right.
    """
    if own_model.is_own(name):
        own_model.check(name)
        return {}
    entry = MODELS.get(name)
    if entry is None:
        there = instead(name, "models", MODELS)
        raise ModelError(f"there is no model {name!r}{there}, or a file such as ./mine.py")
    return parse_all(name, entry.options, options or {})
