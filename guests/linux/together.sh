# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# An NVMe drive, a network card and an edu device in a Linux guest, all at work at the same time.
# What is on the drive is lost. It needs the modules nvme and the card's. pyvmm/linux/init.sh runs
# it, and has the functions. Variables on the kernel's command line:
#
#   rounds=3      how often 4 MiB are written to the drive
#   packets=500   how many pings

disk=/dev/nvme0n1
card=eth0
rounds=${rounds:-3}
packets=${packets:-500}
pattern=/tmp/pattern

write_blocks() {
    local round
    for round in $(seq 0 $((rounds - 1))); do
        dd if=$pattern of=$disk bs=1M seek=$((round * 4)) oflag=direct 2>/dev/null || return
    done
}

read_blocks() {
    local round
    for round in $(seq 0 $((rounds - 1))); do
        dd if=$disk bs=1M skip=$((round * 4)) count=4 iflag=direct 2>/dev/null | cmp - $pattern || return
    done
}

has_carrier() {
    local left=600
    until [ "$(cat /sys/class/net/$card/carrier)" = 1 ]; do
        [ $left -gt 0 ] || return
        left=$((left - 1))
        usleep 50000
    done
}

# By edu; the last one, 12!, is the largest that it has room for.
factorials() {
    local number result
    for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
        devmem $((bar + 0x08)) 32 $number
        while [ $(($(devmem $((bar + 0x20))) & 1)) -ne 0 ]; do
            :
        done
        result=$(($(devmem $((bar + 0x08)))))
    done
    [ "$result" = 479001600 ]
}

for function in /sys/bus/pci/devices/*; do
    [ "$(cat "$function/vendor")$(cat "$function/device")" = 0x12340x11e8 ] && edu=$function
done
check "there is an edu device" [ -n "$edu" ] || exit
echo 1 >"$edu/enable"
read -r bar _ <"$edu/resource"
check "there is a drive" wait_for $disk || exit
check "there is a card" wait_for /sys/class/net/$card || exit
ip link set $card up
check "it has a carrier" has_carrier || exit
ip addr add 10.0.2.15/24 dev $card
head -c 4194304 /dev/urandom >$pattern

write_blocks &
drive=$!
ping -A -q -W 60 -c "$packets" 10.0.2.2 >/tmp/pings &
pings=$!
check "edu has the factorials" factorials
check "$((rounds * 4)) MiB are written" wait $drive
check "$packets pings are answered" wait $pings
check "none is lost" grep -q " $packets packets received, 0% packet loss" /tmp/pings
check "what was written is read" read_blocks
grep -e $card -e nvme0q /proc/interrupts
echo "warnings of the kernel:"
problems | sed 's/^/  /'
