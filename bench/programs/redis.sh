# Redis' own benchmark; what is printed is what the server holds afterwards.
redis-benchmark -s /tmp/redis.sock -n 10000 -c 20 -q -t set,get,incr,lpush,sadd,zadd > /dev/null 2>&1 || exit 1
redis-cli -s /tmp/redis.sock get counter:__rand_int__
redis-cli -s /tmp/redis.sock llen mylist
redis-cli -s /tmp/redis.sock eval 'local n = 0 for i = 1, 1000000 do n = (n * 31 + i) % 65521 end return n' 0
