redis-server --port 0 --unixsocket /tmp/redis.sock --save '' --daemonize yes --dir /tmp > /dev/null
tries=0
until redis-cli -s /tmp/redis.sock ping > /dev/null 2>&1; do
    [ $tries -lt 100 ] || exit 1
    tries=$((tries + 1))
    sleep 0.1
done
