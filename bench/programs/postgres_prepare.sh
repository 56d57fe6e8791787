# A database server on a socket, with pgbench's tables.
PATH=/usr/lib/postgresql/17/bin:$PATH
id postgres > /dev/null 2>&1 || echo 'postgres:x:120:120::/tmp:/bin/sh' >> /etc/passwd
grep -q ^postgres: /etc/group || echo 'postgres:x:120:' >> /etc/group
rm -rf /tmp/postgres && mkdir -p /tmp/postgres && chown 120:120 /tmp/postgres
as_postgres() { setpriv --reuid 120 --regid 120 --clear-groups env HOME=/tmp PATH="$PATH" "$@"; }
{
    as_postgres initdb -D /tmp/postgres/data --no-sync -A trust -E UTF8 --locale=C &&
        as_postgres pg_ctl -w -D /tmp/postgres/data -l /tmp/postgres/log \
            -o "-k /tmp/postgres -c listen_addresses=''" start &&
        as_postgres pgbench -h /tmp/postgres -i -q postgres
} > /tmp/postgres_prepare.log 2>&1 || { cat /tmp/postgres_prepare.log >&2; exit 1; }
