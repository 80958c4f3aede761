# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The root disk and other mounted ones, whatever lies between them and their controllers."""

from __future__ import annotations

import pytest

from pyvmm.doctor import HostUsage, NeededByHost
from pyvmm.vfio.host import HostFunction
from tests.unit.vfio.host.made_host import MadeHost

NVME = "0000:01:00.0"
OTHER = "0000:02:00.0"
NVME_CLASS = 0x010802


@pytest.fixture
def nvme(host: MadeHost) -> str:
    """The path of a disk's controller; there is another function, which nothing needs."""
    host.function(OTHER, group=2)
    return host.function(NVME, class_code=NVME_CLASS, driver="nvme", group=1)


def root_is_on(
    numbers: str, kind: str = "ext4", source: str = "/dev/root", options: str = "rw"
) -> str:
    return f"27 1 {numbers} / / rw,relatime shared:1 - {kind} {source} {options}"


def losses(host: MadeHost, *taken: str) -> list[str]:
    functions = [HostFunction(bdf, root=host.root) for bdf in taken or (NVME, OTHER)]
    return [str(loss) for loss in HostUsage(root=host.root, environ={}).losses(functions)]


ROOT_IS_LOST = [f"{NVME} holds the root file system"]


def test_on_the_whole_disk(host: MadeHost, nvme: str) -> None:
    host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    host.mounts(root_is_on("259:0"))
    assert losses(host) == ROOT_IS_LOST
    assert losses(host, OTHER) == []


def test_bind_mounts_are_told_once(host: MadeHost, nvme: str) -> None:
    host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    host.mounts("29 27 259:0 /srv /mnt rw - ext4 /dev/nvme0n1 rw", root_is_on("259:0"))
    assert losses(host) == ROOT_IS_LOST


def test_on_a_partition(host: MadeHost, nvme: str) -> None:
    disk = host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    host.partition("nvme0n1p2", "259:2", disk)
    host.mounts(root_is_on("259:2"))
    assert losses(host) == ROOT_IS_LOST


def test_on_lvm_on_dm_crypt_on_md_on_partitions(host: MadeHost, nvme: str) -> None:
    disk = host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    host.partition("nvme0n1p2", "259:2", disk)
    sata = host.function("0000:00:17.0", class_code=0x010601)
    host.block("sda", "8:0", f"{sata}/ata1/host0/target0:0:0/0:0:0:0")
    virtual = "sys/devices/virtual"
    host.block("md0", "9:0", virtual, slaves=("nvme0n1p2", "sda"))
    host.block("dm-0", "253:0", virtual, slaves=("md0",))
    host.block("dm-1", "253:1", virtual, slaves=("dm-0",))
    host.mounts(root_is_on("253:1", source="/dev/mapper/vg-root"))
    assert losses(host, NVME, OTHER, "0000:00:17.0") == [
        "0000:00:17.0 holds the root file system",
        *ROOT_IS_LOST,
    ]


def test_on_nvme_multipath(host: MadeHost, nvme: str) -> None:
    """The namespace belongs to the subsystem, not to one of the controllers."""
    host.file(f"{nvme}/nvme/nvme0/state", "live")
    host.file("sys/devices/virtual/nvme-fabrics/ctl/nvme1/state", "live")
    subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    host.link(f"{subsystem}/nvme0", f"{nvme}/nvme/nvme0")
    host.link(f"{subsystem}/nvme1", "sys/devices/virtual/nvme-fabrics/ctl/nvme1")
    where = f"{subsystem}/nvme0n1"
    host.file(f"{where}/dev", "259:1")
    host.link("sys/class/block/nvme0n1", where)
    host.partition("nvme0n1p1", "259:2", where)
    host.mounts(root_is_on("259:2"))
    assert losses(host) == ROOT_IS_LOST


def test_in_an_overlay(host: MadeHost, nvme: str) -> None:
    """As in a live system: a squashfs on a loop device, in a file, on a disk."""
    host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    loop = host.block("loop0", "7:0", "sys/devices/virtual")
    host.file(f"{loop}/loop/backing_file", "/media/a b/root.squashfs\n")
    host.mounts(
        "20 1 0:20 / /cow rw - tmpfs tmpfs rw",
        "21 1 259:0 / /media/a\\040b ro - ext4 /dev/nvme0n1 ro",
        "22 1 7:0 / /lower ro - squashfs /dev/loop0 ro",
        root_is_on("0:27", "overlay", "overlay", "rw,lowerdir=/lower,upperdir=/cow/u"),
    )
    assert losses(host) == [
        *ROOT_IS_LOST,
        f"{NVME} holds a file system that is mounted at /lower",
        f"{NVME} holds a file system that is mounted at /media/a b",
    ]


@pytest.mark.parametrize(
    "options",
    ["lowerdir=/none:/disk/a\\:b,upperdir=/none/u", "lowerdir+=/none,lowerdir+=/disk"],
)
def test_in_any_layer_of_an_overlay(host: MadeHost, nvme: str, options: str) -> None:
    host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    host.mounts(
        "19 1 0:19 / /none rw - tmpfs tmpfs rw",
        "21 1 259:0 / /disk ro - ext4 /dev/nvme0n1 ro",
        root_is_on("0:27", "overlay", "overlay", options.replace("\\", "\\134")),
    )
    assert ROOT_IS_LOST[0] in losses(host)


def test_in_an_overlay_whose_layers_cannot_be_seen(host: MadeHost, nvme: str) -> None:
    """As in a container: then any disk that somebody has claimed might hold it."""
    host.mounts(root_is_on("0:27", "overlay", "overlay", "lowerdir=/var/lib/layers/1"))
    assert losses(host) == []
    host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    assert losses(host) == [f"{NVME} may hold the root file system"]
    host.file("dev/nvme0n1", "that nobody has claimed")
    assert losses(host) == []


def test_as_the_first_process_sees_it(host: MadeHost, nvme: str) -> None:
    """Our own root may be a directory of it."""
    host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    host.mounts(root_is_on("0:30", "tmpfs", "tmpfs"))
    host.mounts(root_is_on("259:0"), process="1")
    assert losses(host) == ROOT_IS_LOST


def test_on_btrfs_of_several_disks(host: MadeHost, nvme: str) -> None:
    host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    sata = host.function("0000:00:17.0", class_code=0x010601)
    host.block("sda", "8:0", f"{sata}/ata1/host0/target0:0:0/0:0:0:0")
    for name in ("nvme0n1", "sda"):
        host.link(f"sys/fs/btrfs/4f1b/devices/{name}", f"sys/class/block/{name}")
    host.mounts(root_is_on("0:27", "btrfs", "/dev/sda"))
    assert losses(host) == ROOT_IS_LOST


def test_on_bcachefs_of_several_disks(host: MadeHost, nvme: str) -> None:
    host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    host.mounts(root_is_on("0:27", "bcachefs", "/dev/sda:/dev/nvme0n1"))
    assert losses(host) == ROOT_IS_LOST


def test_on_zfs(host: MadeHost, nvme: str) -> None:
    """The kernel doesn't tell which disks a pool has: any that stores may be one."""
    host.mounts(root_is_on("0:27", "zfs", "rpool/root"))
    host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    assert losses(host) == [f"{NVME} may hold the root file system"]


@pytest.mark.parametrize("kind", ["9p", "virtiofs"])
def test_from_the_host_of_a_virtual_machine(host: MadeHost, nvme: str, kind: str) -> None:
    if kind == "9p":
        host.file(f"{nvme}/virtio3/mount_tag", "hostroot\0")
        host.link("sys/bus/virtio/devices/virtio3", f"{nvme}/virtio3")
    else:
        host.file(f"{nvme}/virtio3/status", "0xf")
        host.file("sys/fs/virtiofs/2/tag", "hostroot\n")
        host.link("sys/fs/virtiofs/2/device", f"{nvme}/virtio3")
    host.mounts(root_is_on("0:27", kind, "hostroot"))
    assert losses(host) == ROOT_IS_LOST


def test_behind_controllers_of_other_buses(host: MadeHost) -> None:
    """A disk behind VMD, which is a domain of its own: VMD's function is needed too."""
    vmd = host.function("0000:00:0e.0", class_code=0x010400)
    port = host.function("10000:e0:06.0", behind=f"{vmd}/pci10000:e0", header=1)
    disk = host.function("10000:e1:00.0", behind=port, class_code=NVME_CLASS)
    host.block("nvme0n1", "259:0", f"{disk}/nvme/nvme0")
    host.mounts(root_is_on("259:0"))
    assert losses(host, "0000:00:0e.0") == ["0000:00:0e.0 holds the root file system"]
    assert losses(host, "10000:e1:00.0") == ["10000:e1:00.0 holds the root file system"]


def test_on_a_virtual_function(host: MadeHost, nvme: str) -> None:
    vf = host.virtual_function(NVME, 0, "0000:01:00.1", class_code=NVME_CLASS)
    host.block("nvme1n1", "259:1", f"{vf}/nvme/nvme1")
    host.mounts(root_is_on("259:1"))
    assert losses(host, NVME) == ROOT_IS_LOST
    assert losses(host, "0000:01:00.1") == ["0000:01:00.1 holds the root file system"]


def test_other_file_systems_and_swap(host: MadeHost, nvme: str) -> None:
    disk = host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    host.partition("nvme0n1p1", "259:1", disk)
    host.mounts(
        root_is_on("0:2", "tmpfs", "tmpfs"), "28 27 259:1 / /home rw - xfs /dev/nvme0n1p1 rw"
    )
    header = "Filename Type Size Used Priority\n"
    host.file("proc/swaps", f"{header}/dev/nvme0n1p1 partition 8388604 0 -2\n")
    wanted = [f"{NVME} holds a file system that is mounted at /home"]
    swap = [f"{NVME} holds swap space that is in use"]
    assert losses(host) == wanted + swap
    host.file("proc/swaps", f"{header}/home/swapfile file 8388604 0 -2\n")
    assert losses(host) == wanted + swap
    host.mounts(
        root_is_on("0:2", "tmpfs", "tmpfs"), r"28 27 259:1 / /my\040home rw - xfs /dev/nvme0n1p1 rw"
    )
    host.file("proc/swaps", rf"{header}/my\040home/swapfile file 8388604 0 -2" + "\n\nnothing\n")
    wanted = [f"{NVME} holds a file system that is mounted at /my home"]
    assert losses(host) == wanted + swap
    host.file("proc/swaps", f"{header}/dev/zram0 partition 8388604 0 -2\n")
    assert losses(host) == wanted


def test_slaves_in_a_circle_and_loops_in_themselves_end(host: MadeHost, nvme: str) -> None:
    host.block("dm-0", "253:0", "sys/devices/virtual", slaves=("dm-1",))
    host.block("dm-1", "253:1", "sys/devices/virtual", slaves=("dm-0",))
    loop = host.block("loop0", "7:0", "sys/devices/virtual")
    host.file(f"{loop}/loop/backing_file", "/image")
    host.mounts(root_is_on("7:0"), "30 27 253:0 / /data rw - ext4 /dev/dm-0 rw", "nonsense", "- -")
    assert losses(host) == []


def test_the_refusal(host: MadeHost, nvme: str) -> None:
    host.block("nvme0n1", "259:0", f"{nvme}/nvme/nvme0")
    host.mounts(root_is_on("259:0"))
    usage = HostUsage(root=host.root, environ={})
    with pytest.raises(NeededByHost) as refused:
        usage.check([HostFunction(NVME, root=host.root)])
    assert str(refused.value) == (
        "0000:01:00.0 holds the root file system: the host needs that; move it elsewhere first, "
        "or take it with --force"
    )
    usage.check([HostFunction(OTHER, root=host.root)])
