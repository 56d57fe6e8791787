#!/bin/sh
# Applies a DHCP lease (called by busybox udhcpc).
case $1 in
deconfig) ip addr flush dev "$interface" ;;
bound | renew)
    ip addr replace "$ip/${mask:-24}" dev "$interface"
    [ -n "$router" ] && ip route replace default via "${router%% *}"
    : > /etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done
    echo "guest: address $ip"
    ;;
esac
