// node: objects, closures, strings, maps, typed arrays, regular expressions, JSON, sorting.
"use strict";

class Point {
  constructor(x, y) { this.x = x; this.y = y; }
  moved(dx, dy) { return new Point(this.x + dx, this.y + dy); }
}

function* words(count) {
  let state = 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    yield String.fromCharCode(97 + (state >>> 8) % 26, 97 + (state >>> 13) % 26, 97 + (state >>> 18) % 26);
  }
}

function queens(n, row = 0, columns = 0, left = 0, right = 0) {
  if (row === n) return 1;
  let total = 0;
  for (let free = ~(columns | left | right) & ((1 << n) - 1); free !== 0; free &= free - 1) {
    const bit = free & -free;
    total += queens(n, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1);
  }
  return total;
}

let points = Array.from({ length: 20000 }, (_, i) => new Point(i, -i));
for (let step = 0; step < 40; step++) points = points.map((point) => point.moved(step, 1));
console.log(points.reduce((sum, point) => sum + point.x * point.y, 0));
console.log(queens(10));

const counts = new Map();
for (const word of words(300000)) counts.set(word, (counts.get(word) ?? 0) + 1);
console.log([...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 5));

const sieve = new Uint8Array(2000000);
let primes = 0;
for (let i = 2; i < sieve.length; i++) {
  if (sieve[i]) continue;
  primes++;
  for (let j = i * 2; j < sieve.length; j += i) sieve[j] = 1;
}
console.log(primes);

const text = JSON.stringify(Array.from({ length: 20000 }, (_, i) => ({ id: i, name: `item ${i}`, even: i % 2 === 0 })));
const items = JSON.parse(text);
console.log(text.length, items.filter((item) => /7.*7/.test(item.name)).length);

let big = 1n;
for (let i = 1n; i <= 1500n; i++) big *= i;
console.log(big.toString().length, big % 1000003n);
