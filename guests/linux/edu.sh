# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# QEMU's edu device driven from user space in a Linux guest: its registers by /dev/mem, its DMA into
# memory that Linux leaves alone, its interrupt by uio_pci_generic, whose module it needs.
# pyvmm/linux/init.sh runs it, and has the functions. On the kernel's command line there has to be
# memmap=1M$128M, and 256M of memory, all that edu reaches.

MEMORY=$((128 << 20)) # guest-physical, 1 MiB
BUFFER=0x40000        # of edu's own, as its DMA engine has it

for function in /sys/bus/pci/devices/*; do
    [ "$(cat "$function/vendor")$(cat "$function/device")" = 0x12340x11e8 ] && edu=$function
done
check "there is an edu device" [ -n "$edu" ] || exit
echo 1 >"$edu/enable"
read -r bar _ <"$edu/resource"

register() {
    echo $((bar + $1))
}

# get OFFSET, set OFFSET VALUE: a 32-bit register of edu's.
get() {
    devmem "$(register "$1")" 32
}

set_register() {
    devmem "$(register "$1")" 32 "$2"
}

# config OFFSET BYTES: write configuration space, bytes in printf's notation.
config() {
    printf "$2" | dd of="$edu/config" bs=1 seek=$(($1)) conv=notrunc 2>/dev/null
}

factorial() {
    set_register 0x08 "$1"
    while [ $(($(get 0x20) & 1)) -ne 0 ]; do
        :
    done
    get 0x08
}

# dma FROM TO COUNT DIRECTION: 0 into edu, 2 out of it.
dma() {
    devmem "$(register 0x80)" 64 "$1"
    devmem "$(register 0x88)" 64 "$2"
    devmem "$(register 0x90)" 64 "$3"
    devmem "$(register 0x98)" 64 $((1 | $4))
    while [ $(($(devmem "$(register 0x98)" 64) & 1)) -ne 0 ]; do
        usleep 10000
    done
}

# One word goes into edu and comes back elsewhere.
copy_a_word() {
    devmem $MEMORY 32 0xc0ffee42
    devmem $((MEMORY + 0x1000)) 32 0
    dma $MEMORY $BUFFER 4 0
    dma $BUFFER $((MEMORY + 0x1000)) 4 2
    [ "$(devmem $((MEMORY + 0x1000)) 32)" = 0xC0FFEE42 ]
}

# By a driver that hands interrupts to whoever reads its file; config space lets the next one come.
hear_an_interrupt() {
    config 0x04 '\006\000' # memory, bus master, INTx
    set_register 0x60 "$1"
    [ "$(dd bs=4 count=1 <&3 2>/dev/null | hexdump -e '1/4 "%u"')" = "$2" ] || return
    [ "$(get 0x24)" = "$(printf 0x%08X "$1")" ] || return
    set_register 0x64 "$1"
}

check "its identification" [ "$(get 0x00)" = 0x010000ED ]
set_register 0x04 0x12345678
check "it inverts what it is given" [ "$(get 0x04)" = 0xEDCBA987 ]
check "10! = 3628800" [ "$(($(factorial 10)))" = 3628800 ]
config 0x04 '\006\004' # memory, bus master, no INTx
check "DMA in and out" copy_a_word
echo "1234 11e8" >/sys/bus/pci/drivers/uio_pci_generic/new_id
check "uio has it" wait_for /dev/uio0 || exit
exec 3</dev/uio0 # those before it is opened are not told
for turn in 1 2 3; do
    check "interrupt $turn" hear_an_interrupt $turn $turn
done
echo "warnings of the kernel:"
problems | sed 's/^/  /'
