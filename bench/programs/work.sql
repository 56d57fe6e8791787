-- sqlite3: a table filled from a recursive query, an index, joins and aggregates.
CREATE TABLE item (id INTEGER PRIMARY KEY, kind INTEGER, name TEXT, price INTEGER);
WITH RECURSIVE n(i, x) AS (
    SELECT 1, 12345
    UNION ALL
    SELECT i + 1, (x * 1103515245 + 12345) % 2147483648 FROM n WHERE i < 60000
)
INSERT INTO item SELECT i, x % 97, 'item ' || (x % 5003), x % 100000 FROM n;
CREATE INDEX item_name ON item (name, price);
SELECT kind, count(*), sum(price), max(name) FROM item GROUP BY kind ORDER BY 3 DESC LIMIT 10;
SELECT count(*), sum(a.price - b.price) FROM item a JOIN item b ON a.name = b.name AND a.id < b.id;
UPDATE item SET price = price * 2 WHERE kind % 3 = 0;
DELETE FROM item WHERE name LIKE '%7';
SELECT name, price FROM item ORDER BY price DESC, id LIMIT 20;
SELECT count(DISTINCT name), sum(length(name)), total(price) FROM item;
