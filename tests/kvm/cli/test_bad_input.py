# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What `pyvmm run` refuses: one line with cause and cure, and an exit status of its own."""

from __future__ import annotations

import mmap
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyvmm.cli import exit_codes
from pyvmm.models import Bar, Identity, Model
from pyvmm.vfio.user import Server
from tests.kvm.cli.conftest import run

pytestmark = pytest.mark.kvm

Vm = Callable[..., Path]


# -- the config -------------------------------------------------------------------------------


def test_no_config(tmp_path: Path) -> None:
    done = run("run", tmp_path / "none.yaml")
    done.refused(exit_codes.CONFIG, "none.yaml: no such file")


def test_a_config_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "vm.yaml"
    path.write_text("kernel: hello.elf\nmemory: 64 potatoes\n")
    run("run", path).refused(
        exit_codes.CONFIG, "vm.yaml:2: memory.size: expected a size such as 64M"
    )
    path.write_text("kernel: hello.elf\ncpuz: 2\n")
    run("run", path).refused(exit_codes.CONFIG, "vm.yaml:2: cpuz: no such key; did you mean cpu")


def test_an_override_that_is_wrong(vm: Vm) -> None:
    done = run("run", vm(), "--set", "cpus=many")
    done.refused(exit_codes.CONFIG, "override: cpus: expected a whole number", "'many'")


# -- the guest's image ------------------------------------------------------------------------


def empty(path: Path, _guests: Path) -> None:
    path.touch()


def text(path: Path, _guests: Path) -> None:
    path.write_text("#!/bin/sh\necho not a guest\n")


def truncated(path: Path, guests: Path) -> None:
    image = (guests / "hello.elf").read_bytes()
    path.write_bytes(image[: len(image) // 2])


def header_only(path: Path, guests: Path) -> None:
    path.write_bytes((guests / "hello.elf").read_bytes()[:40])


def zimage(path: Path, _guests: Path) -> None:
    image = bytearray(4096)
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x202:0x206] = b"HdrS"
    path.write_bytes(image)


def without_note(path: Path, _guests: Path) -> None:
    path.write_bytes(Path(os.__file__).read_bytes()[:0] + Path("/proc/self/exe").read_bytes())


def directory(path: Path, _guests: Path) -> None:
    path.mkdir()


def fifo(path: Path, _guests: Path) -> None:
    os.mkfifo(path)


def missing(path: Path, _guests: Path) -> None:
    pass


IMAGES: list[tuple[Callable[[Path, Path], None], str]] = [
    (empty, "empty; build or copy it again"),
    (text, "is a script; a kernel is a bzImage (vmlinuz) or an ELF file with a PVH entry"),
    (truncated, "build or copy it again"),
    (header_only, "build or copy it again"),
    (zimage, "is a zImage"),
    (without_note, "PVH"),
    (directory, "not a regular file; name an image"),
    (fifo, "regular file"),
    (missing, "ENOENT (No such file or directory); check the path"),
]


@pytest.mark.parametrize(("make", "what"), IMAGES)
def test_an_image_that_is_none(
    vm: Vm, guests: Path, tmp_path: Path, make: Callable[[Path, Path], None], what: str
) -> None:
    image = tmp_path / "image"
    make(image, guests)
    run("run", vm(kernel=str(image))).refused(exit_codes.BAD_IMAGE, str(image), what)


def test_an_initrd_that_is_missing(vm: Vm, tmp_path: Path) -> None:
    done = run("run", vm(initrd=str(tmp_path / "initrd")))
    done.refused(exit_codes.BAD_IMAGE, str(tmp_path / "initrd"), "ENOENT")


def test_an_initrd_that_does_not_fit(vm: Vm, tmp_path: Path) -> None:
    with open(tmp_path / "initrd", "wb") as file:
        file.truncate(64 << 20)
    done = run("run", vm(initrd=str(tmp_path / "initrd"), memory="32M"))
    done.refused(exit_codes.BAD_IMAGE, "initrd", "more memory")


def test_a_firmware_that_is_none(vm: Vm, tmp_path: Path) -> None:
    (tmp_path / "firmware").touch()
    done = run("run", vm(kernel=None, firmware=str(tmp_path / "firmware")))
    done.refused(exit_codes.BAD_IMAGE, str(tmp_path / "firmware"))


# -- memory -----------------------------------------------------------------------------------


def test_more_memory_than_the_host_has(vm: Vm) -> None:
    done = run("run", vm(memory="60T"))
    done.refused(exit_codes.HOST_MEMORY, "62914560 MiB", "the host's", "give the guest less memory")


def test_huge_pages_that_the_host_has_not(vm: Vm) -> None:
    gib = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE >> 30
    done = run("run", vm(memory={"size": f"{gib}G", "backing": "hugetlb-1G"}))
    done.refused(exit_codes.HOST_MEMORY, f"{gib} free pages", "nr_hugepages")


# -- models -----------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [False, True])
def test_a_model_that_there_is_not(vm: Vm, process: bool) -> None:
    done = run("run", vm(devices=[{"model": "edo", "process": process}]))
    done.refused(exit_codes.BAD_MODEL, "'edo', did you mean 'edu'? models: edu, nvme, testdev, ")


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"dma_musk": 1}, "no option 'dma_musk', did you mean 'dma_mask'?"),
        ({"dma_mask": "wide"}, "option dma_mask: expected a number from 0 to"),
        ({"dma_mask": -1}, "option dma_mask: expected a number from 0 to"),
    ],
)
def test_an_option_that_there_is_not(
    vm: Vm, process: bool, options: dict[str, object], what: str
) -> None:
    done = run("run", vm(devices=[{"model": "edu", "process": process, "options": options}]))
    done.refused(exit_codes.BAD_MODEL, what)


# -- PCI --------------------------------------------------------------------------------------


def test_two_devices_at_one_address(vm: Vm) -> None:
    done = run("run", vm(devices=[{"model": "edu", "slot": "05.0"}, {"model": "edu", "slot": 5}]))
    done.refused(
        exit_codes.PCI_CONFLICT,
        "vm0.yaml:1: devices[1].slot: expected a slot of its own, got 05.0, where devices[0] is",
        "choose another one",
    )


def test_more_devices_than_addresses(vm: Vm) -> None:
    done = run("run", vm(devices=[{"model": "edu"}] * 32))
    done.refused(exit_codes.PCI_CONFLICT, "no free device number left; use slots such as 03.1")


class Huge(Model):
    """More memory in a 32-bit BAR than the machine has addresses for."""

    identity = Identity(0x1234, 0x5678, class_code=0xFF0000)
    bar0 = Bar(0, 1 << 30)


class Vast(Model):
    """A 64-bit one beyond any processor's addresses."""

    identity = Identity(0x1234, 0x5678, class_code=0xFF0000)
    bar0 = Bar(0, 1 << 48, wide=True, prefetchable=True)


@contextmanager
def served(model: Model, path: Path) -> Iterator[None]:
    with model, Server.listen(model, path) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.stop()
            thread.join()


@pytest.mark.parametrize(
    ("kind", "what", "cure"),
    [
        (Huge, "BAR 0 (32-bit memory, 0x40000000 bytes)", "can have 0x20000000 bytes"),
        (Vast, "BAR 0 (64-bit memory, 0x1000000000000 bytes)", "have 0x8000000000 bytes"),
    ],
)
def test_a_bar_that_fits_nowhere(
    vm: Vm, sockets: Path, kind: type[Model], what: str, cure: str
) -> None:
    with served(kind(), sockets / "device"):
        done = run("run", vm(devices=[{"socket": str(sockets / "device")}]))
    done.refused(
        exit_codes.PCI_SPACE, str(sockets / "device"), "00:01.0", what, "fits in no gap", cure
    )


# -- sockets ----------------------------------------------------------------------------------


def nothing(path: Path) -> None:
    pass


def a_file(path: Path) -> None:
    path.touch()


def a_folder(path: Path) -> None:
    path.mkdir()


def a_stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))


def a_datagram_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))


@pytest.mark.parametrize(
    ("make", "cause", "cure"),
    [
        (nothing, "ENOENT", "start the server first"),
        (a_file, "ECONNREFUSED", "it is no socket"),
        (a_folder, "ECONNREFUSED", "it is no socket"),
        (a_stale_socket, "ECONNREFUSED", "the server that made this socket is gone"),
    ],
)
def test_a_socket_that_nobody_listens_on(
    vm: Vm, sockets: Path, make: Callable[[Path], None], cause: str, cure: str
) -> None:
    path = sockets / "device"
    make(path)
    done = run("run", vm(devices=[{"socket": str(path)}]))
    done.refused(exit_codes.DEVICE_GONE, str(path), f"connect: {cause}", cure)


def test_a_socket_of_another_kind(vm: Vm, sockets: Path) -> None:
    path = sockets / "device"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        done = run("run", vm(devices=[{"socket": str(path)}]))
    done.refused(exit_codes.DEVICE_GONE, "EPROTOTYPE", "not a stream socket")


def test_a_socket_whose_path_is_too_long(vm: Vm, tmp_path: Path) -> None:
    done = run("run", vm(devices=[{"socket": str(tmp_path / ("x" * 120))}]))
    done.refused(exit_codes.DEVICE_GONE, "ENAMETOOLONG")


# -- the serial line --------------------------------------------------------------------------


def test_serial_output_that_can_not_be_written(vm: Vm, tmp_path: Path) -> None:
    done = run("run", vm(serial=str(tmp_path / "no" / "such" / "folder")))
    done.refused(exit_codes.HOST_CALL, "folder for serial output: open: ENOENT")
