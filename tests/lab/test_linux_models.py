# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux guests with models as devices, which its own drivers use."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.lab.conftest import MakeLinux
from tests.lab.linux_guest import PATIENCE, boots, heard

pytestmark = [
    pytest.mark.proof,
    pytest.mark.profiles("proof"),
    pytest.mark.timeout(1200),
]

VIRTIO = boots("virtio_blk", "virtio-rng", "ext4")
DRIVES = boots("nvme", "ext4")
DRIVE = boots("nvme", "ext4", script="nvme.sh")
SIZE = 64 << 20
NOISE = "dd if=/dev/urandom of=/tmp/noise bs=1M count=4 2>/dev/null"


@pytest.mark.boots(VIRTIO)
def test_virtio(make_linux: MakeLinux, tmp_path: Path) -> None:
    """A drive with a file system, a source of random numbers, and a console that answers."""
    console = tmp_path / "console"
    vm = make_linux(
        VIRTIO,
        [
            {"model": "virtio-blk", "options": {"size": "64M", "serial": "first"}},
            {"model": "virtio-rng"},
            {"model": "virtio-console", "options": {"socket": str(console)}},
        ],
    )
    vm.start()
    assert vm.shell("echo $(cat /sys/block/vda/serial)") == ["first"]
    vm.shell(f"{NOISE}; dd if=/tmp/noise of=/dev/vda bs=1M oflag=direct conv=fsync 2>/dev/null")
    vm.shell("dd if=/dev/vda bs=1M count=4 iflag=direct 2>/dev/null | cmp - /tmp/noise")
    vm.shell("mke2fs /dev/vda && mount -t ext4 /dev/vda /mnt && cp /tmp/noise /mnt && umount /mnt")
    vm.shell("mount -t ext4 -o ro /dev/vda /mnt && cmp /tmp/noise /mnt/noise && umount /mnt")
    assert vm.shell("cat /sys/class/misc/hw_random/rng_current") == ["virtio_rng.0"]
    numbers = {vm.shell("head -c 32 /dev/hwrng | md5sum")[0] for _ in range(3)}
    assert len(numbers) == 3
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        there.settimeout(PATIENCE)
        there.connect(str(console))
        vm.send('(read -r line; echo "$((6 * 7)) to $line") </dev/hvc0 >/dev/hvc0 &')
        there.sendall(b"the question\n")
        said = b""
        while b"42 to the question\r\n" not in said:
            said += there.recv(4096)
    interrupts = vm.shell("cat /proc/interrupts")
    assert heard(interrupts, "virtio0-req.0") > 0
    assert vm.notices == []


@pytest.mark.parametrize("ioeventfd", [False, True], ids=["by writes", "by ioeventfd"])
@pytest.mark.parametrize("process", [False, True], ids=["here", "in a process"])
@pytest.mark.boots(DRIVES)
def test_namespaces_of_large_blocks(
    make_linux: MakeLinux, tmp_path: Path, process: bool, ioeventfd: bool
) -> None:
    """Two files, each with a file system, both at work at once; and blocks that are given back."""
    files = [tmp_path / name for name in ("a.img", "b.img")]
    for file, size in zip(files, (48 << 20, 80 << 20), strict=True):
        with file.open("wb") as empty:
            empty.truncate(size)
    options = {"files": [*map(str, files)], "block_size": 4096, "ioeventfd": ioeventfd}
    vm = make_linux(DRIVES, [{"model": "nvme", "options": options, "process": process}], cpus=2)
    vm.start()
    vm.shell("dmesg -n 1; until [ -e /dev/nvme0n1 ] && [ -e /dev/nvme0n2 ]; do sleep 1; done")
    # Linux looks for both at once, and names them as they come.
    assert sorted(vm.shell("cat /sys/block/nvme0n?/nsid")) == ["1", "2"]
    for nsid, sectors in (("1", 48 << 11), ("2", 80 << 11)):
        vm.shell(f"disk=$(basename $(dirname $(grep -lx {nsid} /sys/block/nvme0n?/nsid)))")
        assert vm.shell("cat /sys/block/$disk/size") == [str(sectors)]
        assert vm.shell("cat /sys/block/$disk/queue/logical_block_size") == ["4096"]
        vm.shell(f"ln -s $disk /dev/drive{nsid}; mkdir /mnt/{nsid}")
        vm.shell(f"mke2fs -b 4096 /dev/drive{nsid} >/dev/null 2>&1")
        vm.shell(f"mount -t ext4 /dev/drive{nsid} /mnt/{nsid}")
    vm.shell(NOISE)
    vm.shell("for d in 1 2; do cp /tmp/noise /mnt/$d/noise && sync & done; wait")
    vm.shell("for d in 1 2; do umount /mnt/$d; mount -t ext4 /dev/drive$d /mnt/$d; done")
    vm.shell("cmp /tmp/noise /mnt/1/noise && cmp /tmp/noise /mnt/2/noise")
    before = files[1].stat().st_blocks
    vm.shell("rm /mnt/2/noise && sync && fstrim /mnt/2")
    assert files[1].stat().st_blocks < before - (2 << 11)
    vm.shell("cmp /tmp/noise /mnt/1/noise")
    interrupts = vm.shell("cat /proc/interrupts")
    assert heard(interrupts, "nvme0q1") > 0
    assert heard(interrupts, "nvme0q2") > 0
    assert vm.notices == []


@pytest.mark.parametrize(
    ("used_at", "written"),
    [
        (None, True),
        (0, False),
        ((1 << 20) - 1, False),
        (SIZE - (1 << 20), False),
        (SIZE - 1, False),
    ],
    ids=["blank", "first byte", "first MiB", "last MiB", "last byte"],
)
@pytest.mark.boots(DRIVE)
def test_a_drive_with_something_on_it_is_only_read(
    make_linux: MakeLinux, tmp_path: Path, used_at: int | None, written: bool
) -> None:
    file = tmp_path / "disk.img"
    with file.open("wb") as disk:
        disk.truncate(SIZE)
        if used_at is not None:
            disk.seek(used_at)
            disk.write(b"x")
    before = file.read_bytes()
    options = {"files": [str(file)]}
    vm = make_linux(DRIVE, [{"model": "nvme", "options": options}], "size=2")
    lines = vm.passes()
    assert ("  ok   2 MiB are written" in lines) == written
    assert any(line.startswith("There is something on this drive") for line in lines) != written
    assert (file.read_bytes() != before) == written
