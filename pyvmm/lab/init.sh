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
TERMINAL=/dev/hvc0

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
    prepare_mounts
    find_port control || $B poweroff -f
    exec 9<>"/dev/${PORT##*/}"
    echo ready >&9

    # All that needs the host's files or the time comes after the snapshot, and nothing else.
    read -r _ epoch seed modules <&9 || $B poweroff -f
    $B date -s "@$epoch" >/dev/null
    echo "$seed" >/dev/urandom
    mount_root && switch || echo "failed start can't use the host's root directory" >&9
    $B poweroff -f
}

prepare_mounts() {
    $B mkdir -p /dev/pts /dev/shm /ro /rw /nr /run
    $B mount -t devpts -o ptmxmode=0666 pts /dev/pts
    $B mount -t tmpfs shm /dev/shm
    $B mount -t tmpfs run /run
    $B mount -t tmpfs rw /rw
    $B mkdir -p /rw/upper /rw/work /run/lock $LAB
    $B ln -s /proc/self/fd /dev/fd
    $B ln -s fd/0 /dev/stdin
    $B ln -s fd/1 /dev/stdout
    $B ln -s fd/2 /dev/stderr
    $B cp $B /init $LAB/
    $B mkfifo $LAB/jobs
    $B ip link set lo up
    $B hostname lab
}

# The host's root directory, read-only, under a layer that takes what is written.
mount_root() {
    $B mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 root /ro || return
    $B mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work root /nr || return
    for place in dev proc sys run; do
        [ -d /nr/$place ] || $B mkdir /nr/$place
        $B mount --move /$place /nr/$place
    done
}

switch() {
    exec $B switch_root /nr $LAB/busybox sh $LAB/init agent "$modules"
}

agent() {
    B=$LAB/busybox
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    export PATH
    cd $LAB || return
    read -r release </proc/sys/kernel/osrelease
    $B mkdir -p "/lib/modules/$release"
    $B mount --bind "$1" "/lib/modules/$release"
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
    $B stty -F $TERMINAL rows "$2" cols "$3"
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

# A job on a terminal of its own: the kernel's first one for a virtconsole, the only one there is.
terminal() {
    find_port "$1.tty"
    (run_job "$1" setsid -c <$TERMINAL >$TERMINAL 2>&1)
    status=$?
    echo -n "$2" >$TERMINAL
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
    read -r now _ </proc/uptime
    deadline=$((${now%.*} + 40)) # the host waits for an answer a little longer
    while devices=$(behind "/sys/bus/pci/devices/$2") && [ "$(count $devices)" -lt "$3" ]; do
        wait_more "$1" "there is no device behind port $2" || return
    done
    for device in $devices; do
        until to_vfio "/sys/bus/pci/devices/$device"; do
            wait_more "$1" "vfio-pci doesn't take $device" || return
        done
    done
    echo bound "$1" $devices >&9
}

count() {
    echo $#
}

# Waits a little, or tells that request $1 failed, and why, if the deadline is over.
wait_more() {
    read -r now _ </proc/uptime
    if [ "${now%.*}" -ge "$deadline" ]; then
        echo "failed $1 $2" >&9
        return 1
    fi
    $B usleep 10000
}

# True once the device in the folder $1 is vfio-pci's, which takes it when the bus has it whole.
to_vfio() {
    case $($B readlink "$1/driver") in
        */vfio-pci) return ;;
        ?*) echo "${1##*/}" >"$1/driver/unbind" ;;
    esac
    echo vfio-pci >"$1/driver_override"
    echo "${1##*/}" >/sys/bus/pci/drivers_probe
    [ -e "$1/driver" ]
} 2>/dev/null

case $1 in
    agent) agent "$2" ;;
    *) boot ;;
esac
