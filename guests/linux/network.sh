# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# A network card in a Linux guest: frames through it and back, and each accounted for. At its other
# end is QEMU's user network, or another one with a host that answers pings. It needs the card's
# module. pyvmm/linux/init.sh runs it, and has the functions. Variables on the kernel's command line:
#
#   packets=10000   how many pings; each takes a frame out and one back
#   address=10.0.2.15/24, peer=10.0.2.2
#   interrupts=msix what the driver has: msix, msi or intx

card=eth0
packets=${packets:-10000}
address=${address:-10.0.2.15/24}
peer=${peer:-10.0.2.2}
interrupts=${interrupts:-msix}
flows=4
statistics=/sys/class/net/$card/statistics

seconds() {
    cut -d ' ' -f 1 /proc/uptime
}

# Which kind of interrupts the driver of $card has asked for and got.
kind_of_interrupts() {
    cat /sys/class/net/$card/device/msi_irqs/* 2>/dev/null | sort -u | grep . || echo intx
}

# Interrupts so far of what is called after $card.
interrupts_so_far() {
    awk -v name="$card" 'BEGIN { sum = 0 }
        index($NF, name) == 1 { for (n = 2; $n ~ /^[0-9]+$/; n++) sum += $n }
        END { print sum }' /proc/interrupts
}

counted() {
    cat "$statistics/$1"
}

has_carrier() {
    local left=600
    until [ "$(cat /sys/class/net/$card/carrier)" = 1 ]; do
        [ $left -gt 0 ] || return
        left=$((left - 1))
        usleep 50000
    done
}

# Several at once, each waits for its answer before it goes on; all are answered, within a minute each.
ping_in_flows() {
    local flow jobs="" status=0
    for flow in $(seq $flows); do
        ping -A -q -W 60 -s 1000 -c $((packets / flows)) "$peer" >"/tmp/flow.$flow" &
        jobs="$jobs $!"
    done
    for job in $jobs; do
        wait "$job" || status=1
    done
    return $status
}

# pings WORD: how many the flows have transmitted, or received, together.
pings() {
    grep -h transmitted /tmp/flow.* | tr ',' '\n' |
        awk -v word="$1" '$0 ~ word { sum += $1 } END { print sum + 0 }'
}

# Where an answer is late, ping sends one more; and for the last ones it waits a second, on machines
# that may have come to a stop for longer. So it is the card that tells whether each was answered.
all_answered() {
    [ "$(pings received)" -ge $((packets - packets / 100)) ] &&
        [ $(($(counted rx_packets) - $1)) -ge "$(pings transmitted)" ]
}

# counted_rest NAME BEFORE: frames that the card has counted beyond the pings: ARP, and the like.
counted_rest() {
    echo $(($(counted "$1") - $2 - packets))
}

few() {
    [ "$1" -ge 0 ] && [ "$1" -lt $((10 + packets / 50)) ]
}

check "there is a card" wait_for /sys/class/net/$card || exit
echo "card: driver $(basename "$(readlink /sys/class/net/$card/device/driver)")"
ip link set $card up
check "it has a carrier" has_carrier || exit
ip addr add "$address" dev $card
check "its interrupts are $interrupts" [ "$(kind_of_interrupts)" = "$interrupts" ]
check "the peer answers" ping -q -c 1 -W 60 "$peer" >/dev/null
sent=$(counted tx_packets)
received=$(counted rx_packets)
before=$(interrupts_so_far)
echo "  $(seconds) s"
check "$packets packets are sent" ping_in_flows
echo "  $(seconds) s"
sleep 3 # drivers take the card's counters every other second
check "all are answered" all_answered "$received" || cat /tmp/flow.*
check "the card has sent each once" few "$(counted_rest tx_packets "$sent")"
check "the card has received each once" few "$(counted_rest rx_packets "$received")"
for errors in rx_errors tx_errors rx_dropped tx_dropped; do
    check "$errors: 0" [ "$(counted $errors)" = 0 ]
done
check "it has interrupted" [ "$(interrupts_so_far)" -gt "$before" ]
echo "frames: $(($(counted tx_packets) - sent)) out, $(($(counted rx_packets) - received)) in"
grep "$card" /proc/interrupts
echo "warnings of the kernel:"
problems | sed 's/^/  /'
