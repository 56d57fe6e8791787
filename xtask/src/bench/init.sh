#!/bin/sh
# First process of the benchmark guests. Its first line marks userspace; then every order of /orders,
# and an idle while. The host reads the machine's memory while the last line waits.
echo "bench: userspace"
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox dmesg -n 1
$busybox mkdir -p /bin /sbin /usr/bin /usr/sbin
$busybox --install -s
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
grep -m 1 '^isa' /proc/cpuinfo | sed 's/.*: /bench: isa /'
grep -m 1 '^mmu' /proc/cpuinfo | sed 's/.*: /bench: mmu /'
echo "bench: cpus $(grep -c '^processor' /proc/cpuinfo)"
while read -r verb order; do
    case $verb in
    idle)
        echo "bench: idle"
        sleep "$order"
        echo "bench: idle over"
        ;;
    run) $order </dev/null || echo "bench: failed $order" ;;
    esac
done < /orders
echo "bench: end"
sleep 1
poweroff -f
