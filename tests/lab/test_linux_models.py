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
