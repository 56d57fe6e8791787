exec /usr/bin/gzip -9 -n -c /bench/data
