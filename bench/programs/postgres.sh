# Transactions of two clients; the sum of what they have written does not depend on their order.
PATH=/usr/lib/postgresql/17/bin:$PATH
export PGUSER=postgres PGHOST=/tmp/postgres PGDATABASE=postgres
pgbench -n -c 2 -j 1 -t 300 --random-seed=7 > /tmp/pgbench.log 2>&1 || { cat /tmp/pgbench.log >&2; exit 1; }
psql -At -c 'select count(*), sum(delta) from pgbench_history' -c 'select sum(bbalance) from pgbench_branches' \
    -c 'select bid, count(*), avg(abalance) from pgbench_accounts group by bid'
