"""Five small experiments, one after the other."""
import math
import random
from collections import Counter

random.seed(7)
print("Five experiments, each printed as soon as it is done.\n")

# 1. Prime numbers by sieve
limit = 4_000_000
sieve = bytearray([1]) * (limit + 1)
sieve[0:2] = b"\0\0"
for n in range(2, math.isqrt(limit) + 1):
    if sieve[n]:
        sieve[n * n :: n] = bytes(len(range(n * n, limit + 1, n)))
primes = [n for n, prime in enumerate(sieve) if prime]
print(f"1. primes below {limit:,}: {len(primes):,}, the last is {primes[-1]:,}")

# 2. Pi by throwing darts
throws = 3_000_000
inside = sum(random.random() ** 2 + random.random() ** 2 <= 1 for _ in range(throws))
print(f"2. pi from {throws:,} darts: {4 * inside / throws:.4f} (it is {math.pi:.4f})")

# 3. Gaps between neighbouring primes
gaps = Counter(b - a for a, b in zip(primes, primes[1:]))
for gap, count in gaps.most_common(3):
    print(f"3. gap {gap:>2}: {count:>6,} times")

# 4. The longest Collatz run
def collatz(n, known={1: 1}):
    path = []
    while n not in known:
        path.append(n)
        n = n // 2 if n % 2 == 0 else 3 * n + 1
    for length, step in enumerate(reversed(path), known[n] + 1):
        known[step] = length
    return known[path[0]] if path else known[n]

longest = max(range(1, 400_000), key=collatz)
print(f"4. {longest:,} needs {collatz(longest):,} steps to reach 1")

# 5. How often a birthday is shared
people, trials = 23, 100_000
shared = sum(len({random.randrange(365) for _ in range(people)}) < people for _ in range(trials))
print(f"5. a shared birthday among {people}: {shared / trials:.1%} of {trials:,} parties")

summary = {"primes": len(primes), "collatz": longest, "birthday": round(shared / trials, 3)}
summary
