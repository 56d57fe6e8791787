"""python3: objects, dictionaries, strings, big integers, sorting and a regular expression."""

import re
from collections import Counter
from dataclasses import dataclass


@dataclass
class Point:
    x: int
    y: int

    def moved(self, dx, dy):
        return Point(self.x + dx, self.y + dy)


def queens(n, row=0, columns=0, left=0, right=0):
    if row == n:
        return 1
    total = 0
    free = ~(columns | left | right) & ((1 << n) - 1)
    while free:
        bit = free & -free
        free ^= bit
        total += queens(n, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1)
    return total


def words(count):
    state = 1
    for _ in range(count):
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        yield "".join(chr(97 + (state >> shift) % 26) for shift in (13, 29, 41, 53))


points = [Point(i, -i) for i in range(2000)]
for step in range(10):
    points = [point.moved(step, 1) for point in points]
print(sum(point.x * point.y for point in points))
print(queens(8))
text = " ".join(words(20000))
print(Counter(text).most_common(3))
print(len(re.findall(r"\b[aeiou]\w+[xyz]\b", text)))
print(sorted(set(text.split()), key=lambda word: word[::-1])[:3])
print(sum(map(int, str(3**8000))))
