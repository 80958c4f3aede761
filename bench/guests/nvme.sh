# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Runs as a Linux guest's script: tells when user space has the drive, and reads from it by
# bench/c/read_disk.c. bench/in_lab counts exits between the lines.
#
# On the kernel's command line is reads=DEPTH:COUNT:SIZE,...: how many at a time, how many in all,
# and of how many bytes.
disk=/dev/nvme0n1

interrupts() {
    awk '/nvme0q[1-9]/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) n += $i } END { print n + 0 }' \
        /proc/interrupts
}

wait_for $disk || exit
echo "bench: up"
bytes=$(($(cat /sys/block/nvme0n1/size) * 512))
read_disk $disk $((bytes / 4096)) 320 32 4096 >/dev/null # fills caches
for each in $(echo "$reads" | tr , ' '); do
    set -- $(echo "$each" | tr : ' ')
    before=$(interrupts)
    echo "bench: begin"
    took=$(read_disk $disk $((bytes / $3)) "$2" "$1" "$3")
    echo "bench: end"
    echo "bench: took $took ns for $2, $1 at a time: $(($(interrupts) - before)) interrupts"
done
