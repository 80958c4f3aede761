# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What Linux has made of its processors and memory, each line behind a word that says what it is.
each() {
    sed "s/^/$1: /"
}

cat /proc/cmdline | each cmdline
uname -r | each release
sed -n 's/[[:space:]]*:/:/p' /proc/cpuinfo | each cpu
cat /sys/devices/system/clocksource/clocksource0/current_clocksource | each clock
cat /proc/mtrr | each mtrr
for entry in /sys/firmware/memmap/*; do
    echo "e820: $(cat "$entry/start") $(cat "$entry/end") $(cat "$entry/type")"
done
dmesg | sed -n 's/^\[ *0\.000000\] \(random: .*\)/\1/p' | each early
problems | each problem
sleep 1 # the clock goes, and interrupts of timers come
cut -d . -f 1 /proc/uptime | each up
grep LOC: /proc/interrupts | each timers
