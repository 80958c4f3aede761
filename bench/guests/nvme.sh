# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Runs as a Linux guest's script: tells when user space has the drive, and reads from it by
# bench/c/read_disk.c. bench/in_lab counts exits between the lines.
disk=/dev/nvme0n1

interrupts() {
    awk '/nvme0q[1-9]/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) n += $i } END { print n + 0 }' \
        /proc/interrupts
}

wait_for $disk || exit
echo "bench: up"
blocks=$(($(cat /sys/block/nvme0n1/size) / 8))
read_disk $disk $blocks 320 32 >/dev/null # fills caches
# How many at a time, and how many of them.
for each in "1 2000" "32 20000"; do
    set -- $each
    before=$(interrupts)
    echo "bench: begin"
    took=$(read_disk $disk $blocks "$2" "$1")
    echo "bench: end"
    echo "bench: took $took ns for $2, $1 at a time: $(($(interrupts) - before)) interrupts"
done
