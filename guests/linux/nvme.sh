# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# An NVMe drive in a Linux guest: what it is, blocks written and read back, a file system on it, and
# its interrupts. It needs the modules nvme and ext4. pyvmm/linux/init.sh runs it, and has the
# functions. Variables on the kernel's command line:
#
#   size=8          MiB to write, less than the drive has
#   overwrite=yes   a drive that has something on it loses it; without this, it is only read

disk=/dev/nvme0n1
controller=/sys/class/nvme/nvme0
pattern=/tmp/pattern
size=${size:-8}

show_drive() {
    local function
    function=$(readlink -f $controller/device)
    echo "drive: $(sed 's/ *$//' $controller/model), serial $(sed 's/ *$//' $controller/serial)"
    echo "  at ${function##*/}, driver $(basename "$(readlink "$function/driver")")"
    echo "  $(cat /sys/block/nvme0n1/size) sectors of 512 bytes"
    echo "  it begins with:"
    dd if=$disk bs=4k count=1 iflag=direct 2>/dev/null | hexdump -C | sed 's/^/    /; 4q'
}

# Whether nothing is lost with what is on the drive: it is the lab's, or its first MiB is blank, and
# its last, where RAIDs and partition tables have theirs.
free_to_use() {
    [ "$overwrite" = yes ] && return
    [ "$(dd if=$disk bs=13 count=1 2>/dev/null)" = "LABNVME block" ] && return
    blank_from 0 && blank_from $(($(cat /sys/block/nvme0n1/size) - 2048))
}

blank_from() {
    dd if=$disk bs=512 skip="$1" count=2048 2>/dev/null | cmp -s -n 1048576 - /dev/zero
}

# Runs a program, and shows what it says if it fails.
quietly() {
    "$@" >/tmp/said 2>&1 || {
        cat /tmp/said
        return 1
    }
}

same() {
    dd if=$disk bs=1M count="$size" iflag=direct 2>/dev/null | cmp - $pattern
}

use_blocks() {
    dd if=/dev/urandom of=$pattern bs=1M count="$size" 2>/dev/null
    check "$size MiB are written" quietly dd if=$pattern of=$disk bs=1M oflag=direct conv=fsync
    check "$size MiB are read" quietly dd if=$disk of=/dev/null bs=1M count="$size" iflag=direct
    check "they are the same" same
}

use_file_system() {
    check "it is made" quietly mke2fs -L pyvmm $disk || return
    check "it is mounted" mount -t ext4 $disk /mnt || return
    check "a file of $size MiB is written" cp $pattern /mnt/file
    check "it is unmounted" umount /mnt || return
    check "it is mounted again" mount -t ext4 -o ro $disk /mnt || return
    check "the file is the same" cmp /mnt/file $pattern
    df -h /mnt | sed 's/^/    /'
    umount /mnt
}

show_interrupts() {
    echo "interrupts:"
    sed -n '1p; /nvme0q/p' /proc/interrupts | sed 's/^/    /'
}

if ! wait_for $disk; then
    fail "there is a drive"
    problems
    exit 1
fi
show_drive
if free_to_use; then
    echo "blocks:"
    use_blocks
    echo "file system:"
    use_file_system
else
    echo "There is something on this drive, so it is only read: overwrite=yes on the kernel's"
    echo "command line has it overwritten."
    check "$size MiB are read" quietly dd if=$disk of=/dev/null bs=1M count="$size" iflag=direct
fi
show_interrupts
