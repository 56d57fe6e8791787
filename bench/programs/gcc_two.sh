# Two compilers at a time.
cd /bench || exit 1
gcc -O1 -S -o /tmp/integer.s integer.c &
gcc -O1 -S -o /tmp/floating.s floating.c || exit 1
wait $! || exit 1
cat /tmp/integer.s /tmp/floating.s
