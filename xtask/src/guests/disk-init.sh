#!/bin/sh
# First process of the disk guest's initramfs: loads the modules of the archive, waits for the root file
# system that the kernel command line names (root=LABEL=...), and hands over to its init.
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do
    $busybox insmod "$module" || echo "initramfs: cannot load $module"
done
root=
for word in $($busybox cat /proc/cmdline); do
    case $word in
    root=*) root=${word#root=} ;;
    esac
done
device=
tries=0
while [ -z "$device" ] && [ $tries -lt 100 ]; do
    device=$($busybox findfs "$root" 2>/dev/null) || $busybox sleep 0.1
    tries=$((tries + 1))
done
if ! $busybox mount -t ext4 "$device" /mnt; then
    echo "initramfs: no root file system $root"
    exec $busybox setsid $busybox cttyhack /bin/sh
fi
echo "initramfs: root is $device"
for place in proc sys dev; do $busybox mount -o move /$place /mnt/$place; done
exec $busybox switch_root /mnt /sbin/init
