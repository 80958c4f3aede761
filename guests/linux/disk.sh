# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# A disk in a Linux guest, whatever is between: blocks are written and read back, and a file system
# is used. What is on the disk is lost. It needs the modules of its driver and ext4.
# pyvmm/linux/init.sh runs it, and has the functions. Variables on the kernel's command line:
#
#   disk=sda   the name of its device
#   size=8     MiB to write

disk=/dev/${disk:-sda}
size=${size:-8}
pattern=/tmp/pattern

quietly() {
    "$@" >/tmp/said 2>&1 || {
        cat /tmp/said
        return 1
    }
}

same() {
    dd if=$disk bs=1M count="$size" iflag=direct 2>/dev/null | cmp - $pattern
}

use_file_system() {
    check "a file system is made" quietly mke2fs $disk || return
    check "it is mounted" mount -t ext4 $disk /mnt || return
    check "a file is written" cp $pattern /mnt/file
    check "it is unmounted" umount /mnt || return
    check "it is mounted again" mount -t ext4 -o ro $disk /mnt || return
    check "the file is the same" cmp /mnt/file $pattern
    umount /mnt
}

check "there is a disk" wait_for $disk 120 || exit
head -c $((size << 20)) /dev/urandom >$pattern
check "$size MiB are written" quietly dd if=$pattern of=$disk bs=1M oflag=direct conv=fsync
check "they are read back" same
use_file_system
echo "at $(readlink -f "/sys/block/${disk##*/}" | sed 's,/sys/devices/,,')"
echo "warnings of the kernel:"
problems | sed 's/^/  /'
