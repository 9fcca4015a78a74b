import re
from collections import Counter

text = """
It was the best of times, it was the worst of times, it was the age of wisdom,
it was the age of foolishness, it was the epoch of belief, it was the epoch of
incredulity, it was the season of Light, it was the season of Darkness, it was
the spring of hope, it was the winter of despair.
"""

words = re.findall(r"[a-z]+", text.lower())
print(f"{len(words)} words, {len(set(words))} different")

counts = Counter(words)
for word, count in counts.most_common(5):
    print(f"{word:<8}{'#' * count} {count}")

pairs = Counter(zip(words, words[1:]))
print("most frequent pair:", " ".join(pairs.most_common(1)[0][0]))


def readability(words, sentences):
    """Flesch reading ease, with vowel groups for syllables."""
    syllables = sum(len(re.findall(r"[aeiouy]+", word)) for word in words)
    return 206.835 - 1.015 * len(words) / sentences - 84.6 * syllables / len(words)


score = readability(words, sentences=text.count("."))
print(f"reading ease {score:.1f}")
longest = max(words, key=len)
print(f"longest word: {longest}")
