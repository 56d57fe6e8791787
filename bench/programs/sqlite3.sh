exec /usr/bin/sqlite3 -init /bench/work.sql -batch :memory: .quit
