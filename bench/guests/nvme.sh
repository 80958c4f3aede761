# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Runs as a Linux guest's script: tells when user space has the drive, and reads from it, one at a
# time and 32 at a time. bench/in_lab/linux.py times the lines and counts exits between them.
disk=/dev/nvme0n1

# reads DEPTH COUNT: so many processes read COUNT blocks of 4 KiB each, past the page cache.
reads() {
    local i=0
    while [ $i -lt "$1" ]; do
        dd if=$disk of=/dev/null bs=4k skip=$((i * $2)) count="$2" iflag=direct 2>/dev/null &
        i=$((i + 1))
    done
    wait
}

interrupts() {
    awk '/nvme0q[1-9]/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) n += $i } END { print n + 0 }' \
        /proc/interrupts
}

wait_for $disk || exit
echo "bench: up"
reads 32 8 # fills caches with the programs
for each in "1 1500" "32 50"; do
    set -- $each
    before=$(interrupts)
    echo "bench: begin"
    reads "$1" "$2"
    echo "bench: end"
    echo "bench: interrupts $(($(interrupts) - before))"
done
