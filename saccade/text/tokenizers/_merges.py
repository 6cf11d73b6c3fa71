"""Byte pair encoding as in Sennrich, Haddow and Birch (2016), algorithm 1: merge for merge what subword-nmt 0.3.8 learns and applies."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from itertools import pairwise

Pair = tuple[str, str]
Changes = list[tuple[int, tuple[str, ...], tuple[str, ...], int]]  # which word, what it has become, what it was, how often it occurs

END = "</w>"
"""Fused to the last character of a word (version 0.2 of the format)."""
_LEAST = 2  # a pair that occurs less often is not merged


def words_of(line: str) -> list[str]:
    """The words of a line, as subword-nmt cuts it: at U+0020 alone."""
    return [word for word in line.strip("\r\n ").split(" ") if word]


def learn_merges(lines: Iterable[str], size: int) -> list[Pair]:
    """At most `size` merges in the order learned: always the most frequent pair, of equals the largest."""
    counts = Counter(word for line in lines for word in words_of(line))
    table = _Table(counts)
    merges: list[Pair] = []
    for step in range(size if table.counts else 0):
        pair = table.best(step)
        if table.counts[pair] < _LEAST:
            break
        merges.append(pair)
        table.merge(pair)
        if step % 100 == 0:
            table.prune()
    return merges


class _Table:
    """How often each pair occurs and in which words, kept up to date merge by merge.

    The most frequent pairs are in `counts`, the others in `archive`, which makes finding the best one fast.  The counts are not
    always exact (the same string may have arisen in two ways), and these are exactly the counts that subword-nmt goes by.
    """

    def __init__(self, words: Mapping[str, int]) -> None:
        self.words = [((*word[:-1], word[-1] + END), count) for word, count in words.items()]
        self.counts: defaultdict[Pair, int] = defaultdict(int)
        self.where: defaultdict[Pair, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        for place, (word, count) in enumerate(self.words):
            for pair in pairwise(word):
                self.counts[pair] += count
                self.where[pair][place] += 1
        self.archive = self.counts.copy()
        self.threshold = max(self.counts.values(), default=0) / 10

    def best(self, step: int) -> Pair:
        """The pair to merge next."""
        pair = self._most_frequent() if self.counts else None
        if pair is None or (step and self.counts[pair] < self.threshold):
            self.prune()
            self.counts = self.archive.copy()
            pair = self._most_frequent()
            self.threshold = self.counts[pair] * step / (step + 10000.0)
            self.prune()
        return pair

    def _most_frequent(self) -> Pair:
        counts = self.counts
        return max(counts, key=lambda pair: (counts[pair], pair))

    def prune(self) -> None:
        """Move pairs below the threshold to the archive."""
        for pair in [pair for pair, count in self.counts.items() if count < self.threshold]:
            count = self.counts.pop(pair)
            self.archive[pair] = self.archive[pair] + count if count < 0 else count

    def merge(self, pair: Pair) -> None:
        """Replace `pair` by one symbol wherever it occurs, and count again what stood beside it."""
        changes = self._replace(pair)
        self.counts[pair] = 0
        self.where[pair] = defaultdict(int)
        for place, new, old, count in changes:
            for lost in _beside(pair, old):
                self.counts[lost] -= count
                self.where[lost][place] -= 1
            for gained in _around(pair[0] + pair[1], new):
                self.counts[gained] += count
                self.where[gained][place] += 1
        self.counts[pair] = 0

    def _replace(self, pair: Pair) -> Changes:
        merged = pair[0] + pair[1]
        # The reference replaces text, in which a no-break space within a symbol also ends one: so must we.
        pattern = re.compile(r"(?<!\S)" + re.escape(" ".join(pair)) + r"(?!\S)")
        changes: Changes = []
        for place, times in self.where[pair].items():
            if times > 0:
                old, count = self.words[place]
                new = tuple(pattern.sub(lambda _: merged, " ".join(old)).split(" "))
                self.words[place] = (new, count)
                changes.append((place, new, old, count))
        return changes


def _beside(pair: Pair, word: tuple[str, ...]) -> list[Pair]:
    """The pairs that overlap with an occurrence of `pair`, before it was merged; between two occurrences side by side, once."""
    found: list[Pair] = []
    i, last = 0, len(word) - 1
    while i < last:
        if word[i] != pair[0] or word[i + 1] != pair[1]:
            i += 1
            continue
        if i:
            found.append((word[i - 1], word[i]))
        if i + 1 < last and (word[i + 2] != pair[0] or i + 2 >= last or word[i + 3] != pair[1]):
            found.append((word[i + 1], word[i + 2]))
        i += 2
    return found


def _around(merged: str, word: tuple[str, ...]) -> list[Pair]:
    """The pairs that hold the new symbol; two new symbols side by side, once."""
    found: list[Pair] = []
    for i, symbol in enumerate(word):
        if symbol == merged:
            if i:
                found.append((word[i - 1], symbol))
            if i + 1 < len(word) and word[i + 1] != merged:
                found.append((symbol, word[i + 1]))
    return found


def segment(word: str, ranks: Mapping[Pair, int]) -> list[str]:
    """The parts of a word: of all pairs in it the one with the lowest rank is merged everywhere from the left, again and again.

    In time n log n: every place waits in the queue of its pair's rank.
    """
    symbols = [*word[:-1], word[-1] + END]
    after, before = list(range(1, len(symbols) + 1)), list(range(-1, len(symbols) - 1))
    waiting: dict[int, set[int]] = {}
    queue: list[int] = []

    def wait(place: int) -> None:
        rank = ranks.get((symbols[place], symbols[after[place]])) if place >= 0 and after[place] < len(symbols) else None
        if rank is not None:
            if rank not in waiting:
                heappush(queue, rank)
            waiting.setdefault(rank, set()).add(place)

    for place in range(len(symbols)):
        wait(place)
    while queue:
        rank = heappop(queue)
        merged = []
        for place in sorted(waiting.pop(rank)):
            right = after[place]
            # What has been merged since is another pair now, or none.
            if right < len(symbols) and ranks.get((symbols[place], symbols[right])) == rank:
                symbols[place], symbols[right] = symbols[place] + symbols[right], ""
                after[place] = after[right]
                if after[right] < len(symbols):
                    before[after[right]] = place
                merged.append(place)
        # Only now: a pair that has just arisen waits, whatever its rank, until this one is merged everywhere.
        for place in merged:
            wait(before[place])
            wait(place)
    parts = [symbol for symbol in symbols if symbol]
    return [*parts[:-1], parts[-1].removesuffix(END)]
