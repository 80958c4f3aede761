# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Keeps an NVMe drive at work for ever, in both directions, and says so each time.
wait_for /dev/nvme0n1 || exit
while true; do
    dd if=/dev/nvme0n1 of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null || exit
    dd if=/dev/zero of=/dev/nvme0n1 bs=64k count=64 oflag=direct 2>/dev/null || exit
    echo "at work"
done
