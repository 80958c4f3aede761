# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# An NVMe drive in a Linux guest, put to the proof: each CPU writes a part of it at the same time, and
# reads it back; the driver goes and comes; each queue has a vector of its own; a file system is used.
# What is on the drive is lost. It needs the modules nvme and ext4. pyvmm/linux/init.sh runs it, and
# has the functions. Variables on the kernel's command line:
#
#   size=256     MiB in all, a multiple of 4 for each CPU
#   rebinds=20   how often the driver is taken away and given back

controller=/sys/class/nvme/nvme0
disk=/dev/nvme0n1
pattern=/tmp/pattern
size=${size:-256}
rebinds=${rebinds:-20}
cpus=$(nproc)
part=$((size / cpus)) # MiB
last=$((cpus - 1))

seconds() {
    cut -d ' ' -f 1 /proc/uptime
}

# Runs a function for each CPU, on that CPU, all at once. False if one of them is.
on_each_cpu() {
    local cpu jobs="" status=0
    for cpu in $(seq 0 $last); do
        (taskset -p $((1 << cpu)) "$(exec sh -c 'echo $PPID')" >/dev/null && "$1" "$cpu") &
        jobs="$jobs $!"
    done
    for job in $jobs; do
        wait "$job" || status=1
    done
    return $status
}

# What CPU $1 writes: MiBs of noise, each of which begins with whose it is.
data_of() {
    local number
    for number in $(seq $part); do
        printf 'CPU %4d, MiB %5d\n' "$1" "$number"
        cat $pattern
    done
}

write_part() {
    data_of "$1" | dd of=$disk bs=1M seek=$(($1 * part)) iflag=fullblock oflag=direct \
        conv=notrunc,fsync 2>/dev/null
}

read_part() {
    dd if=$disk bs=1M skip=$(($1 * part)) count=$part iflag=direct 2>/dev/null
}

sum_written() {
    data_of "$1" | crc32 >"/tmp/written.$1"
}

sum_read() {
    read_part "$1" | crc32 >"/tmp/read.$1"
}

same_sums() {
    local cpu
    for cpu in $(seq 0 $last); do
        cmp "/tmp/written.$cpu" "/tmp/read.$cpu" || return
    done
    [ "$(cat /tmp/written.* | sort -u | wc -l)" = "$cpus" ] # each wrote something else
}

use_blocks() {
    echo "  $(seconds) s"
    head -c $(((1 << 20) - 20)) /dev/urandom >$pattern # and the 20 bytes of whose it is
    echo "  $(seconds) s"
    check "$size MiB are written from $cpus CPUs" on_each_cpu write_part
    echo "  $(seconds) s"
    on_each_cpu sum_written
    check "$size MiB are read from $cpus CPUs" on_each_cpu sum_read
    check "they are the same" same_sums
    echo "  $(seconds) s"
}

# Interrupts so far of vector $1, as the kernel names it, on all CPUs; nothing if there is none.
interrupts_of() {
    awk -v name="$1" -v cpus="$cpus" \
        '$NF == name { for (n = 2; n < 2 + cpus; n++) sum += $n; print sum }' /proc/interrupts
}

# One I/O queue for each CPU, and each has been heard by a vector of its own.
queues_have_vectors() {
    local queue count
    for queue in $(seq 1 "$cpus"); do
        count=$(interrupts_of "nvme0q$queue")
        [ "${count:-0}" -gt 0 ] || return
    done
    [ "$(grep -c 'MSI.* nvme0q' /proc/interrupts)" = $((cpus + 1)) ]
}

first_sum() {
    dd if=$disk bs=1M count=1 iflag=direct 2>/dev/null | md5sum
}

rebind() {
    local function driver first turn
    function=$(basename "$(readlink -f $controller/device)")
    driver=/sys/bus/pci/drivers/nvme
    first=$(first_sum)
    for turn in $(seq "$rebinds"); do
        echo "$function" >$driver/unbind || return
        [ ! -e $disk ] || return
        echo "$function" >$driver/bind || return
        wait_for $disk || return
        [ "$(first_sum)" = "$first" ] || return
    done
}

quietly() {
    "$@" >/tmp/said 2>&1 || {
        cat /tmp/said
        return 1
    }
}

use_file_system() {
    cat $pattern $pattern >/tmp/file
    check "a file system is made" quietly mke2fs $disk || return
    check "it is mounted" mount -t ext4 $disk /mnt || return
    check "a file is written" cp /tmp/file /mnt/file
    check "it is unmounted" umount /mnt || return
    check "it is mounted again" mount -t ext4 -o ro $disk /mnt || return
    check "the file is the same" cmp /mnt/file /tmp/file
    umount /mnt
}

check "there is a drive" wait_for $disk || exit
use_blocks
check "each of $cpus I/O queues has a vector" queues_have_vectors
check "$rebinds times the driver is unbound and bound" rebind
echo "  $(seconds) s"
use_file_system
grep nvme0q /proc/interrupts
echo "warnings of the kernel:"
problems | sed 's/^/  /'
