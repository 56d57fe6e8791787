exec /usr/bin/xz -6 -T1 -c /bench/data
