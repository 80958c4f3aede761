# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What the kernel warns of, and all that it says of the platform, each line with its level; after
# a driver has used a device.
wait_for /dev/nvme0n1 || fail "there is a drive"
check "it can be read" dd if=/dev/nvme0n1 of=/dev/null bs=4096 count=1 status=none
echo "messages:"
dmesg -r | grep -iE '^<[0-4]>|acpi|pci|pnp|apic|e820|resource'
