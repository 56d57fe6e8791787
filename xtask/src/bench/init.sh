#!/bin/sh
# First process of the benchmark guests. Its first line marks userspace; then every order of /orders,
# and an idle while. The host reads the machine's memory while the last line waits.
# A disk, where there is one, becomes the root of what is run; it sees this file system's /bench.
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
# Of x86 processors the words that tell of instructions, in one order.
flags=$(grep -m 1 '^flags' /proc/cpuinfo | tr ' ' '\n' | grep -x -F -f /cpu-flags | sort)
[ -n "$flags" ] && echo "bench: isa" $flags
grep -m 1 '^mmu' /proc/cpuinfo | sed 's/.*: /bench: mmu /'
echo "bench: cpus $(grep -c '^processor' /proc/cpuinfo)"
ip link set lo up
for module in /modules/*.ko; do
    [ -e "$module" ] && insmod "$module"
done
enter=
if [ -b /dev/vda ]; then
    mount -t ext4 /dev/vda /mnt || echo "bench: failed to mount the disk"
    mkdir -p /mnt/bench /mnt/dev/shm
    for place in proc sys dev bench; do mount -o bind /$place /mnt/$place; done
    mkdir -p /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    mount -t tmpfs tmpfs /dev/shm
    ln -s /proc/self/fd /dev/fd
    # What the packages' installation scripts would have written.
    cp /mnt/usr/share/base-passwd/passwd.master /mnt/etc/passwd
    cp /mnt/usr/share/base-passwd/group.master /mnt/etc/group
    echo "127.0.0.1 localhost" > /mnt/etc/hosts
    chroot /mnt /sbin/ldconfig
    chmod 1777 /mnt/tmp
    enter="chroot /mnt"
fi
while read -r verb order; do
    case $verb in
    idle)
        echo "bench: idle"
        sleep "$order"
        echo "bench: idle over"
        ;;
    prepare) $enter $order </dev/null || echo "bench: failed $order" ;;
    run) $enter $order </dev/null || echo "bench: failed $order" ;;
    esac
done < /orders
echo "bench: end"
sleep 1
poweroff -f
