#!/bin/sh
# First process of the test guests. Prints a mark when userspace is reached, loads the modules of the
# archive in order, and takes its order from the kernel command line:
#   order=shell (default)   a shell on the console; the machine powers off when it ends
#   order=poweroff|reboot   at once
#   order=PATH              run PATH, print its status, power off
# net=dhcp sets eth0 up before the order.
busybox=/bin/busybox
$busybox mount -t proc proc /proc
read -r uptime idle < /proc/uptime
echo "guest: userspace after $uptime s"
$busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /dev /sys /tmp /run /mnt
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev
$busybox mount -t tmpfs tmpfs /tmp
$busybox mkdir -p /dev/pts /dev/shm
$busybox mount -t devpts devpts /dev/pts
$busybox --install -s
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ PS1='guest# ' TERM=linux

order=shell
net=
for word in $(cat /proc/cmdline); do
    case $word in
    order=*) order=${word#order=} ;;
    net=*) net=${word#net=} ;;
    esac
done

for module in /modules/*.ko; do
    [ -e "$module" ] || continue
    insmod "$module" || echo "guest: cannot load $module"
done
ip link set lo up
if [ "$net" = dhcp ]; then
    ip link set eth0 up && udhcpc -i eth0 -s /etc/udhcpc.sh -q -n -t 10 || echo "guest: no network"
fi

case $order in
shell)
    # Later kernel messages would end up in the output of commands; emergencies still come through.
    dmesg -n 1
    echo "guest: shell"
    setsid cttyhack sh
    ;;
poweroff) ;;
reboot)
    echo "guest: reboot"
    sync
    reboot -f
    ;;
*)
    "$order"
    echo "guest: order status $?"
    ;;
esac
echo "guest: poweroff"
sync
poweroff -f
