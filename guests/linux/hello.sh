# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# What a Linux guest finds: its kernel, CPUs, memory and PCI devices, and what the kernel warns of.
# pyvmm/linux/init.sh runs it, and has the functions.

echo "kernel: $(uname -sr)"
echo "cpus: $(nproc),$(sed -n '/^model name/{s/.*://p;q}' /proc/cpuinfo)"
echo "memory: $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
echo "clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "command line: $(cat /proc/cmdline)"

echo "PCI devices:"
for device in /sys/bus/pci/devices/*; do
    read -r vendor <"$device/vendor"
    read -r product <"$device/device"
    read -r class <"$device/class"
    driver=$(readlink "$device/driver") || driver="no driver"
    echo "  ${device##*/} ${vendor#0x}:${product#0x} class ${class#0x}, ${driver##*/}"
done

echo "warnings of the kernel:"
problems | sed 's/^/  /'
echo "up for $(cut -d ' ' -f 1 /proc/uptime) s"
