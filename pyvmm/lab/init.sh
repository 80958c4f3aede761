#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# The lab's first process: /init of its initramfs, and then the agent that does what the host asks.
#
# All talk is over the virtio-serial port "control", one line a message (agent.py is the other
# end). The console carries the kernel's log alone. The host takes its snapshot at the word
# "ready": nothing is mounted and no device is plugged in by then that couldn't be saved.

B=/bin/busybox
LAB=/run/pyvmm-lab

# Sets PORT to the device of the virtio-serial port that is called $1; waits for it.
find_port() {
    tries=0
    while [ $tries -lt 500 ]; do
        for port in /sys/class/virtio-ports/*; do
            read -r name <"$port/name" && [ "$name" = "$1" ] && PORT=$port && return
        done 2>/dev/null
        tries=$((tries + 1))
        $B usleep 10000
    done
    echo "pyvmm-lab: no port $1"
    return 1
}

boot() {
    $B mount -t devtmpfs dev /dev
    $B mount -t proc proc /proc
    $B mount -t sysfs sys /sys
    exec </dev/console >/dev/console 2>&1
    while read -r module; do
        $B insmod "/mods/$module.ko" || echo "pyvmm-lab: insmod $module failed"
    done </mods.list
    unsafe=/sys/module/vfio/parameters/enable_unsafe_noiommu_mode
    if [ -e $unsafe ] && ! [ -e /sys/kernel/iommu_groups/0 ]; then
        echo 1 >$unsafe
    fi
    find_port control || $B poweroff -f
    exec 9<>"/dev/${PORT##*/}"
    echo ready >&9

    read -r _ epoch seed modules <&9 || $B poweroff -f
    $B date -s "@$epoch" >/dev/null
    echo "$seed" >/dev/urandom
    mount_root && switch || echo "failed start can't use the host's root directory" >&9
    $B poweroff -f
}

# The host's root directory, read-only, under a layer that takes what is written.
mount_root() {
    $B mkdir -p /ro /rw /nr
    $B mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 root /ro || return
    $B mount -t tmpfs rw /rw
    $B mkdir /rw/upper /rw/work
    $B mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work root /nr || return
    $B mkdir -p /nr/dev /nr/proc /nr/sys /nr/run
    for place in dev proc sys; do
        $B mount --move /$place /nr/$place
    done
    $B mkdir -p /nr/dev/pts /nr/dev/shm
    $B ln -s /proc/self/fd /nr/dev/fd
    $B ln -s fd/0 /nr/dev/stdin
    $B ln -s fd/1 /nr/dev/stdout
    $B ln -s fd/2 /nr/dev/stderr
    $B mount -t devpts -o ptmxmode=0666 pts /nr/dev/pts
    $B mount -t tmpfs shm /nr/dev/shm
    $B mount -t tmpfs run /nr/run
    $B mkdir -p /nr$LAB /nr/run/lock
    $B cp $B /init /nr$LAB/
}

switch() {
    exec $B switch_root /nr $LAB/busybox sh $LAB/init agent "$modules"
}

agent() {
    B=$LAB/busybox
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    export PATH
    cd $LAB || return
    if [ -n "$1" ]; then
        release=$($B uname -r)
        $B mkdir -p "/lib/modules/$release"
        $B mount --bind "$1" "/lib/modules/$release"
    fi
    $B ip link set lo up
    $B mkfifo jobs
    # Whoever reads requests is a background process, and jobs are not: those of a shell without
    # job control ignore SIGINT, for good.
    requests &
    exec 8<jobs
    echo started >&9
    while read -r id kind token <&8; do
        "$kind" "$id" "$token" 8<&-
    done
}

# Reads what the host asks for, until the host is gone.
requests() {
    exec 8>jobs
    while read -r verb id rest <&9; do
        case $verb in
            job) request_job "$id" $rest ;;
            signal) kill "-$rest" -- "-$id" ;;
            size) request_size $id $rest ;;
            bind) bind "$id" $rest ;;
            unbind) unbind "$id" $rest ;;
        esac
    done
    $B poweroff -f
}

# job ID KIND TOKEN SIZE, and then SIZE bytes of script.
request_job() {
    $B dd bs="$4" count=1 iflag=fullblock of="$1.job" <&9 2>/dev/null
    echo "$1 $2 $3" >&8
}

request_size() {
    find_port "$1.tty" && $B stty -F "/dev/hvc$(console_of "$PORT")" rows "$2" cols "$3"
}

# The number of the console at port $1.
console_of() {
    read -r number <"$1/console_vtermno" && echo "$number"
}

# Becomes job $1, by way of the setsid command that the rest is.
run_job() {
    job=$1
    shift
    exec $B "$@" $B sh -c 'echo "running $1 $$" >&9; exec "$0" sh "$1.job" 9<&-' $B "$job"
}

# Becomes the process that gives job $1 its input, and leaves its number.
feed_job() {
    exec $B sh -c 'echo $$ >"$1.feeder.new"; "$0" mv "$1.feeder.new" "$1.feeder"; exec "$0" cat' \
        $B "$1"
}

# A job with its three streams. Ports can't be the streams themselves: they can be opened only
# once, and /dev/stderr and the like are opened again. Opened again, a FIFO without a writer would
# wait for one; so a pipe is stdin. At the end of the last output comes the token.
streams() {
    find_port "$1.in" && exec 3<"/dev/${PORT##*/}"
    find_port "$1.out" && exec 4>"/dev/${PORT##*/}"
    find_port "$1.err" && exec 5>"/dev/${PORT##*/}"
    $B mkfifo "$1.out" "$1.err"
    $B cat <"$1.out" >&4 3<&- 5>&- 9<&- &
    $B cat <"$1.err" >&5 3<&- 4>&- 9<&- &
    exec 6>"$1.out" 7>"$1.err" 4>&- 5>&-
    feed_job "$1" <&3 6>&- 7>&- 9<&- | {
        exec 3<&-
        # In a subshell: what this shell says of a signal that ends it is for the console.
        (run_job "$1" setsid >&6 2>&7 6>&- 7>&-)
        status=$?
        while ! read -r feeder <"$1.feeder"; do
            $B usleep 1000
        done 2>/dev/null
        kill "$feeder" 2>/dev/null
        echo -n "$2" >&6
        echo -n "$2" >&7
        echo "exit $1 $status" >&9
    }
    exec 3<&- 6>&- 7>&-
    $B rm -f "$1".*
}

# A job on a terminal of its own.
terminal() {
    find_port "$1.tty" && tty=/dev/hvc$(console_of "$PORT")
    (run_job "$1" setsid -c <"$tty" >"$tty" 2>&1)
    status=$?
    echo -n "$2" >"$tty"
    echo "exit $1 $status" >&9
    $B rm -f "$1".*
}

# Prints the devices in the sysfs folder of a port or bridge, those behind bridges in it included.
behind() {
    for function in "$1"/????:??:??.?; do
        [ -e "$function/class" ] || continue
        read -r class <"$function/class"
        case $class in
            0x0604*) behind "$function" ;;
            *) echo "${function##*/}" ;;
        esac
    done
}

# bind ID PORT COUNT: gives what is behind a port to vfio-pci, once it is there.
bind() {
    tries=0
    while devices=$(behind "/sys/bus/pci/devices/$2"); set -- "$1" "$2" "$3" $devices; [ $# -lt $((3 + $3)) ]; do
        tries=$((tries + 1))
        if [ $tries -gt 1000 ]; then
            echo "failed $1 there is no device behind port $2" >&9
            return
        fi
        set -- "$1" "$2" "$3"
        $B usleep 10000
    done
    for device in $devices; do
        folder=/sys/bus/pci/devices/$device
        [ -e $folder/driver ] && echo $device >$folder/driver/unbind
        echo vfio-pci >$folder/driver_override
        echo $device >/sys/bus/pci/drivers_probe
        if ! [ -e $folder/driver ]; then
            echo "failed $1 vfio-pci doesn't take $device" >&9
            return
        fi
    done
    echo bound "$1" $devices >&9
}

case $1 in
    agent) agent "$2" ;;
    *) boot ;;
esac
