#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# A Linux guest's first process: /init of the initramfs that is made for a config's initrd. It
# loads the modules that the config names, runs its script, says PASS or FAIL, and ends the VM
# with the result. Without a script there is a shell instead.
#
# The script is read by this shell, so that it has the functions below; variables of the kernel's
# command line (size=8) are variables of its, too. It fails if a check does, or by its own status.

PATH=/bin
FAILED=/run/failed-checks
export PATH

# ok TEXT: something is as it should be.
ok() {
    echo "  ok   $*"
}

# fail TEXT: something isn't, and so the guest fails, whatever comes now.
fail() {
    echo "  FAIL $*"
    echo "$*" >>$FAILED
}

# check TEXT COMMAND...: either of them, by the command's status, which it returns.
check() {
    local text=$1
    shift
    if "$@"; then
        ok "$text"
    else
        fail "$text"
        return 1
    fi
}

# wait_for FILE [SECONDS]: drivers look for their devices on their own time. False if it was up.
wait_for() {
    local left=$((${2:-30} * 20))
    until [ -e "$1" ]; do
        [ $left -gt 0 ] || return
        left=$((left - 1))
        usleep 50000
    done
}

# problems: the kernel's warnings, and what is worse, so far.
problems() {
    dmesg -r | sed -n 's/^<[0-4]>//p'
}

# Without -f these ask the first process, which is this shell, and hears of it when nothing runs
# in its foreground.
reboot() { command reboot -f; }
poweroff() { command poweroff -f; }
halt() { command halt -f; }

set_up() {
    mount -t devtmpfs dev /dev
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    exec </dev/console >/dev/console 2>&1
    mkdir -p /dev/pts /dev/shm
    mount -t devpts pts /dev/pts
    mount -t tmpfs shm /dev/shm
    ln -s /proc/self/fd /dev/fd
    hostname guest
    ip link set lo up
    while read -r module; do
        modprobe "$module" || fail "module $module is loaded"
    done </etc/modules
}

run_script() {
    (. /script)
    status=$?
    sync
    dmesg -n 1 # the last line is to be a whole one
    if [ -s $FAILED ]; then
        failed=$(wc -l <$FAILED)
        [ "$failed" -eq 1 ] && checks=check || checks=checks
        echo "FAIL: $failed $checks failed"
        [ $status -ne 0 ] || status=1
    elif [ $status -ne 0 ]; then
        echo "FAIL: the script ended with status $status"
    else
        echo PASS
    fi
    stty -F /dev/console onlcr # waits until all of it is out
    exit-guest $status
    # Only where there is no such port.
    [ $status -eq 0 ] || reboot
}

run_shell() {
    echo "A shell in the guest: exit, or Ctrl-D, ends it."
    # What is asked for there comes by these signals.
    trap reboot TERM
    trap poweroff USR2
    trap halt USR1
    PS1='guest:\w# ' setsid cttyhack sh </dev/console &
    wait $!
}

set_up
if [ -e /script ]; then
    run_script
else
    run_shell
fi
poweroff
