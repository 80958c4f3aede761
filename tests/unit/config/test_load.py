# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""load() and parse(): what a good config means, and the one line a bad one gets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.config import (
    ConfigError,
    ConfigInvalid,
    ConfigSyntaxError,
    ConfigUnreadable,
    Device,
    Memory,
    VmConfig,
    load,
    parse,
)
from pyvmm.config.loader import MAX_SIZE
from pyvmm.memory import BACKINGS

WriteConfig = Callable[[str], Path]


def test_the_least_config(write_config: WriteConfig) -> None:
    path = write_config("kernel: guests/hello.elf\n")
    config = load(path)
    assert config.name == "vm"
    assert config.kernel == str(path.parent / "guests/hello.elf")
    assert (config.firmware, config.initrd, config.cmdline) == (None, None, "")
    assert (config.cpus, config.devices) == (1, ())
    assert (config.serial, config.timeout) == ("stdio", None)
    assert (config.on_reset, config.max_resets) == ("restart", None)
    assert (config.on_triple_fault, config.on_panic) == ("crash", "exit")
    assert (config.memory.size, config.memory.backing) == (64 << 20, "auto")


def test_a_config_with_everything(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    path = write_config(
        """
        name: all of it
        kernel: ~/vmlinux
        initrd: ../initrd.img
        cmdline: console=ttyS0 quiet
        cpus: 4
        memory: {size: 2G, backing: hugetlb-2M}
        serial: log.txt
        timeout: 1.5
        on_reset: restart
        max_resets: 10
        on_triple_fault: reset
        on_panic: continue
        devices:
          - model: edu
            process: true
            options: {dma_mask: 0xffffffff, files: [./a.img, /b.img], name: up/../x}
            slot: "04.0"
            timeout: 2
          - socket: /run/nvme.sock
            slot: 5
            root_port: true
            posted_writes: true
            rom: nvme.rom
          - host: "01:00.0"
            rom: none
        """
    )
    config = load(path)
    assert config.name == "all of it"
    assert config.kernel == "/home/me/vmlinux"
    assert config.initrd is not None
    assert config.initrd.file == str(path.parent.parent / "initrd.img")
    assert config.cmdline == "console=ttyS0 quiet"
    assert config.cpus == 4
    assert (config.memory.size, config.memory.backing) == (2 << 30, "hugetlb-2M")
    assert config.serial == str(path.parent / "log.txt")
    assert config.timeout == 1.5
    assert (config.on_reset, config.max_resets) == ("restart", 10)
    assert (config.on_triple_fault, config.on_panic) == ("reset", "continue")
    edu, nvme, host = config.devices
    assert (edu.model, edu.process) == ("edu", True)
    files = [str(path.parent / "a.img"), "/b.img"]
    assert edu.options == {"dma_mask": 0xFFFFFFFF, "files": files, "name": "up/../x"}
    assert (edu.slot, edu.timeout, edu.socket) == (0x20, 2.0, None)
    assert (nvme.model, nvme.process, nvme.options) == (None, False, {})
    assert (nvme.slot, nvme.socket) == (0x28, "/run/nvme.sock")
    assert (edu.rom, nvme.rom) == (None, str(path.parent / "nvme.rom"))
    assert (host.host, host.rom) == ("0000:01:00.0", "none")
    assert (edu.root_port, nvme.root_port) == (False, True)
    assert (edu.posted_writes, nvme.posted_writes) == (False, True)


def test_a_linux_guest(write_config: WriteConfig) -> None:
    path = write_config(
        "kernel: debian:6.12-cloud\ninitrd: {modules: [nvme, ext4], script: linux/nvme.sh}\n"
    )
    config = load(path)
    assert config.kernel == "debian:6.12-cloud"
    assert config.initrd is not None
    assert config.initrd.modules == ("nvme", "ext4")
    assert config.initrd.script == str(path.parent / "linux/nvme.sh")
    assert config.initrd.file is None


def test_a_file_called_as_a_kernel_of_debians(write_config: WriteConfig) -> None:
    path = write_config("kernel: ./debian:6.12\n")
    assert load(path).kernel == str(path.parent / "debian:6.12")


def test_firmware_instead_of_a_kernel(write_config: WriteConfig) -> None:
    config = load(write_config("firmware: /usr/share/bios.bin\n"))
    assert (config.kernel, config.firmware) == (None, "/usr/share/bios.bin")


def test_relative_paths_start_at_the_file_wherever_one_stands(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_config("kernel: a.elf\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert load(os.path.join("..", path.name)).kernel == str(tmp_path / "a.elf")


def test_every_kind_of_memory_can_be_asked_for() -> None:
    for backing in BACKINGS:
        assert parse({"kernel": "a", "memory": {"backing": backing}}).memory.backing == backing


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "1: expected a mapping of keys to values, got 3"),
        ("- kernel: a", "1: expected a mapping of keys to values, got a list"),
        ("name: a", "1: expected exactly one of kernel and firmware, got neither"),
        ("kernel: a\nfirmware: b", "2: firmware: expected exactly one of kernel and firmware, "),
        ("firmware: a\n\ninitrd: b", "3: initrd: initrd goes with a kernel; this VM boots firmw"),
        ("kernel: a\nmemroy: 1", "2: memroy: no such key; did you mean memory?"),
        ("kernel: a\nCPUS: 1", "2: CPUS: no such key; did you mean cpus?"),
        ("kernel: a\nqqq: 1", "2: qqq: no such key; expected one of name, kernel, firmware, init"),
        ("kernel: 12", "1: kernel: expected the path of a guest image, or debian: and the name of "
         "a kernel, got 12"),
        ("kernel: ''", "1: kernel: expected the path of a guest image, or debian: and the name of "
         "a kernel, got ''"),
        ("cpus: 1\nkernel: debian:6.2", "2: kernel: there is no kernel debian:6.2; did you mean "
         "debian:6.12? there are debian:6.1, debian:6.12, debian:newest, debian:6.1-cloud, "),
        ("kernel: debian:qqq", "1: kernel: there is no kernel debian:qqq; there are debian:6.1, "),
        ("kernel: a\ninitrd: ''", "2: initrd: expected the path of an initial RAM disk, or a mappi"
         "ng with modules and script, got ''"),
        ("kernel: a\ninitrd: 3", "2: initrd: expected the path of an initial RAM disk, or a mapping"
         " with modules and script, got 3"),
        ("kernel: a\ninitrd: {file: ''}", "2: initrd.file: expected the path of an initial RAM disk"
         ", got ''"),
        ("kernel: a\ninitrd:\n  scrip: b", "3: initrd.scrip: no such key; did you mean script?"),
        ("kernel: a\ninitrd:\n  script: 3", "3: initrd.script: expected the path of a shell scrip"
         "t, got 3"),
        ("kernel: debian:6.1\ninitrd:\n  modules: nvme", "3: initrd.modules: expected a list of ker"
         "nel modules' names, got 'nvme'"),
        ("kernel: debian:6.1\ninitrd:\n  modules:\n  - ''", "4: initrd.modules[0]: expected the nam"
         "e of a kernel module, got ''"),
        ("kernel: a\ninitrd:\n  script: b\n  modules: [nvme]", "4: initrd.modules: the modules are "
         "those of a kernel of Debian's, such as debian:6.12, and this kernel is a file"),
        ("kernel: a\ninitrd:\n  script: b\n  file: c", "3: initrd.script: script is for an initial "
         "RAM disk that is made; this one is a file"),
        ("firmware: a\ninitrd: {}", "2: initrd: initrd goes with a kernel; this VM boots firmware"),
        ("kernel: a\ncpus: 0", "2: cpus: expected a whole number from 1 to 255, got 0"),
        ("kernel: a\ncpus: '1'", "2: cpus: expected a whole number from 1 to 255, got '1'"),
        ("kernel: a\ncpus: [1]", "2: cpus: expected a whole number from 1 to 255, got a list"),
        ("kernel: a\ncpu: 2", "2: cpu: expected a mapping with features, cpuid and tsc_khz (how ma"
         "ny there are is cpus), got 2"),
        ("kernel: a\ncpu:\n  features:\n    avx22: true", "4: cpu.features.avx22: no such feature; "
         "did you mean avx2?"),
        ("kernel: a\ncpu:\n  features: {qqq: true}", "3: cpu.features.qqq: no such feature; /proc/c"
         "puinfo has their names"),
        ("kernel: a\ncpu:\n  features: {avx2: off}", "3: cpu.features: expected true or false for a"
         "vx2, got 'off'"),
        ("kernel: a\ncpu:\n  cpuid:\n  - {leaf: 1, register: ax}", "4: cpu.cpuid[0].register: expe"
         "cted one of eax, ebx, ecx and edx, got 'ax'"),
        ("kernel: a\ncpu:\n  cpuid:\n  - {leaf: 1, register: eax}", "4: cpu.cpuid[0]: expected bits"
         " to clear or to set, got neither"),
        ("kernel: a\nmemory: 64MB", "2: memory.size: expected a size such as 64M (at least 1M, a "
         "multiple of 4K), got '64MB'"),
        ("kernel: a\nmemory: 64", "2: memory.size: expected a size such as 64M (at least 1M"),
        ("kernel: a\nmemory: 1025K", "2: memory.size: expected a size such as 64M (at least 1M"),
        ("kernel: a\nmemory: 100T", "2: memory.size: expected 64T at most, as far as addresses of "
         "46 bits reach, got '100T'; give the guest less, and no more than this host has"),
        ("kernel: a\nmemory: 999999999999999999T", "2: memory.size: expected 64T at most, as far"),
        ("kernel: a\nmemory: 70368744181760", "2: memory.size: expected 64T at most, as far as ad"
         "dresses of 46 bits reach, got 70368744181760; give the guest less"),
        ("kernel: a\nmemory: []", "2: memory: expected a size such as 64M, or a mapping with siz"),
        ("kernel: a\nmemory:\n  backing: x", "3: memory.backing: expected one of auto, private, "),
        ("kernel: a\nmemory:\n  sise: x", "3: memory.sise: no such key; did you mean size?"),
        ("kernel: a\ntimeout: 0.0009", "2: timeout: expected a number of seconds, at least 0.001 "
         "and at most a year, got 0.0009"),
        ("kernel: a\ndevices:\n- model: edu\n  timeout: 0", "4: devices[0].timeout: expected a n"
         "umber of seconds, at least 0.001"),
        ("kernel: a\ntimeout: 31536001", "2: timeout: expected a number of seconds, at least"),
        ("kernel: a\nserial:", "2: serial: expected stdio, none, pty, unix:PATH or the path of a "),
        ("kernel: a\ndevices:\n- host: 01:00.0\n  rom: 1", "4: devices[0].rom: expected the path "),
        ("kernel: a\non_reset: no", "2: on_reset: expected one of restart and exit, got 'no'"),
        ("kernel: a\nmax_resets: 0", "2: max_resets: expected a whole number from 1 to 1000000, g"),
        ("kernel: a\non_reset: exit\nmax_resets: 2", "3: max_resets: max_resets goes with on_rese"),
        ("kernel: a\non_triple_fault: 1", "2: on_triple_fault: expected one of crash and reset, g"),
        ("kernel: a\non_panic: reset", "2: on_panic: expected one of exit and continue, got 'rese"),
        ("kernel: a\ndevices: edu", "2: devices: expected a list of devices, got 'edu'"),
        ("kernel: a\ndevices:\n- edu", "3: devices[0]: expected a device, a mapping with model, "),
        ("kernel: a\ndevices:\n- {}", "3: devices[0]: expected exactly one of model, socket and "),
        ("kernel: a\ndevices:\n- model: edu\n  socket: s", "4: devices[0].socket: expected exactl"),
        ("kernel: a\ndevices:\n- socket: s\n  process: true", "4: devices[0].process: process is "),
        ("kernel: a\ndevices:\n- socket: s\n  options: {a: 1}", "4: devices[0].options: options a"),
        ("kernel: a\ndevices:\n- host: 1:2.3", "3: devices[0].host: expected a PCI address such a"
         "s 0000:01:00.0, got '1:2.3'"),
        ("kernel: a\ndevices:\n- host: '01:00.0'\n- host: 0000:01:00.0", "4: devices[1].host: exp"
         "ected another device of the host, got 0000:01:00.0, which is devices[0] already"),
        ("kernel: a\ndevices:\n- host: '01:00.0'\n  process: true", "4: devices[0].process: proc"
         "ess is for a model; the device of a host has its place already"),
        ("kernel: a\ndevices:\n- model: edu\n  process: yes", "4: devices[0].process: expected t"),
        ("kernel: a\ndevices:\n- model: edu\n  posted_writes: true", "4: devices[0].posted_writes: "
         "posted_writes is for a device in another process, of a socket or with process"),
        ("kernel: a\ndevices:\n- model: edu\n- model: edu\n  slot: 0", "5: devices[1].slot: expec"
         'ted a slot from "01.0" to "1f.7", or a device number from 1 to 9, got 0'),
        ("kernel: a\ndevices:\n- model: edu\n  slot: 3\n- model: edu\n  slot: '03.0'", "6: device"
         "s[1].slot: expected a slot of its own, got 03.0, where devices[0] is"),
        ("kernel: a\ndevices:\n- model: edu\n  slot: 03.1", "4: devices[0].slot: expected a devic"
         "e at 03.0 too: without function 0, no guest looks for 03.1"),
        ("kernel: a\ndevices:\n- model: edu\n  slot: 10", "4: devices[0].slot: expected a slot as l"
         'spci writes it, got 10: "0a.0" is device 10, "10.0" is device 16'),
        ("kernel: a\ndevices:\n- model: a\n  slot: 3\n- model: a\n  slot: 03.1\n  root_port: true",
         "7: devices[1].root_port: expected false, as devices[0] has it, which is function 0 of"),
        ("kernel: a\ndevices:\n- {model: a, slot: 3, root_port: true}\n- {model: a, slot: 03.1}",
         "4: devices[1].root_port: expected true, as devices[0] has it, which is function 0 of t"),
        ("kernel: a\nname: " + "x" * 99, "2: name: expected a name of 1 to 64 characters, got 'x"),
    ],
)  # fmt: skip
def test_a_bad_config_gets_one_line_with_file_line_and_key(
    write_config: WriteConfig, text: str, message: str
) -> None:
    path = write_config(text)
    with pytest.raises(ConfigInvalid) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{message}")
    assert "\n" not in str(caught.value)


def test_a_syntax_error_names_line_and_column(write_config: WriteConfig) -> None:
    path = write_config("kernel: a\ncpus: [1,\n")
    with pytest.raises(ConfigSyntaxError) as caught:
        load(path)
    assert (caught.value.file, caught.value.line, caught.value.column) == (str(path), 3, 1)


def test_functions_of_one_device_go_together(write_config: WriteConfig) -> None:
    config = load(write_config("kernel: a\ndevices: [{model: a, slot: 03.1}, {model: a, slot: 3}]"))
    assert [device.slot for device in config.devices] == [0x19, 0x18]


class TestUnreadable:
    def message(self, path: str | Path) -> str:
        with pytest.raises(ConfigUnreadable) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "no.yaml"
        assert self.message(path).startswith(f"{path}: no such file")

    def test_a_near_miss(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "configs").mkdir()
        (tmp_path / "configs" / "edu.yaml").touch()
        (tmp_path / "mine.yml").touch()
        monkeypatch.chdir(tmp_path)
        assert self.message("edu") == "edu: no such file; did you mean configs/edu.yaml?"
        assert self.message("minr.yaml") == "minr.yaml: no such file; did you mean mine.yml?"
        assert self.message("other/edu.yaml").endswith("did you mean configs/edu.yaml?")

    def test_an_image(self, tmp_path: Path) -> None:
        path = tmp_path / "hello.elf"
        path.write_bytes(b"\x7fELF\x02\x01\x01\xff")
        assert self.message(path).endswith(f"got an ELF image; name it in one: `kernel: {path}`")

    def test_not_to_be_opened(self, tmp_path: Path) -> None:
        path = tmp_path / "loop.yaml"
        path.symlink_to(path)
        assert self.message(path).startswith(f"{path}: opening the config: open: ELOOP (")

    def test_a_name_no_file_can_have(self) -> None:
        assert self.message("a\0b") == "'a\\x00b': no file can have this name"

    def test_a_directory(self, tmp_path: Path) -> None:
        assert self.message(tmp_path) == f"{tmp_path}: expected a YAML file, got a directory"

    def test_a_fifo_is_not_waited_for(self, tmp_path: Path) -> None:
        path = tmp_path / "fifo.yaml"
        os.mkfifo(path)
        assert self.message(path) == f"{path}: expected a YAML file, got no regular file"

    @pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n"])
    def test_empty(self, write_config: WriteConfig, text: str) -> None:
        assert ": the file is empty: expected a config, such as `kernel: " in self.message(
            write_config(text)
        )

    def test_too_large(self, write_config: WriteConfig) -> None:
        path = write_config("kernel: a #" + "x" * MAX_SIZE)
        assert f"bytes are too many for a config: at most {MAX_SIZE}" in self.message(path)

    def test_not_utf8(self, tmp_path: Path) -> None:
        path = tmp_path / "latin.yaml"
        path.write_bytes(b"kernel: a\nname: caf\xe9\n")
        assert self.message(path) == f"{path}:2: not UTF-8: the byte 0xe9 at offset 19"


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfkernel: /a\n")
    assert load(path).kernel == "/a"


class TestParse:
    def test_a_dict_is_as_good_as_a_file(self) -> None:
        config = parse(
            {
                "kernel": Path("a.elf"),
                "memory": "1M",
                "devices": [{"model": "edu", "slot": "03.0"}],
            },
            base="/vms",
        )
        assert isinstance(config, VmConfig)
        assert config == VmConfig(
            kernel="/vms/a.elf",
            memory=Memory(size=1 << 20),
            devices=(Device(model="edu", slot=0x18),),
        )

    def test_the_dict_is_left_alone(self) -> None:
        data = {"kernel": "a", "memory": "64M"}
        parse(data)
        assert data == {"kernel": "a", "memory": "64M"}

    def test_errors_have_a_key_and_no_file(self) -> None:
        with pytest.raises(ConfigInvalid, match=r"^devices\[0\]\.slot: expected a slot from"):
            parse({"kernel": "a", "devices": ({"model": "edu", "slot": 99},)})
        with pytest.raises(ConfigInvalid, match=r"^kernel: the character U\+0000 is not allowed"):
            parse({"kernel": "a\0b"})
        with pytest.raises(ConfigInvalid, match=r"^3: no such key"):
            parse({3: "a"})  # type: ignore[dict-item]


def test_structs_made_in_python_are_checked_too() -> None:
    with pytest.raises(ConfigError, match="exactly one of kernel and firmware, got neither"):
        VmConfig()
    with pytest.raises(
        ValueError, match="exactly one of model, socket and host, got model and socket"
    ):
        Device(model="edu", socket="/s")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0000:01:00.0", "0000:01:00.0"),
        ("01:1F.7", "0000:01:1f.7"),
        ("10000:e1:00.0", "10000:e1:00.0"),  # as behind VMD
    ],
)
def test_addresses_of_the_host(text: str, address: str) -> None:
    assert parse({"kernel": "a", "devices": [{"host": text}]}).devices[0].host == address
