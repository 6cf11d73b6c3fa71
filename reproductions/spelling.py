"""From phonemes to spelling: what a pronouncing dictionary teaches about English letters (fast.ai 2018, lesson 13).

    python -m reproductions.spelling prepare DIR/cmudict.dict.gz spelling.tsv
    saccade train cmudict-spelling data.train=spelling.tsv
    python -m reproductions.spelling judge runs/0001-translate DIR/cmudict.dict.gz

The lecture keeps words of 5 to 15 letters without punctuation or variant number: 108,852 of them in the dictionary of 2024.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from saccade.run import held_out, load
from saccade.text.corpus import read_lines


def entries(dictionary: Path) -> Iterator[tuple[str, str]]:
    """(phonemes, word) of every line that the lecture keeps."""
    for line in read_lines(dictionary):
        word, *phonemes = line.split(" #")[0].split()
        if re.fullmatch("[a-z]{5,15}", word):
            yield " ".join(phonemes), word


def prepare(dictionary: Path, output: Path) -> None:
    """Write phonemes TAB word."""
    rows = list(entries(dictionary))
    output.write_text("".join(f"{phonemes}\t{word}\n" for phonemes, word in rows), encoding="utf-8")
    print(f"{len(rows):,} words to {output}")


def share(flags: Sequence[bool]) -> float:
    """Per cent."""
    return 100 * sum(flags) / max(len(flags), 1)


def judge(run: Path, dictionary: Path) -> None:
    """Whole words right: greedy and beam 5, any valid spelling, unambiguous pronunciations only, and by length."""
    spellings = defaultdict(set)
    for phonemes, word in entries(dictionary):
        spellings[phonemes].add(word)
    model, pairs = load(run), held_out(run)
    for beam in (1, 5):
        said = [answer.text for answer in model.predict([pair.source for pair in pairs], search=replace(model.recipe.search, beam=beam))]
        right = [text == pair.target for text, pair in zip(said, pairs)]
        alone = [flag for flag, pair in zip(right, pairs) if len(spellings[pair.source]) == 1]
        valid = [text in spellings[pair.source] for text, pair in zip(said, pairs)]
        print(
            f"beam {beam}: exact {share(right):.2f} %  any valid spelling {share(valid):.2f} %  unambiguous only {share(alone):.2f} %  of {len(pairs):,} words"
        )
        by_length = {n: [flag for flag, pair in zip(right, pairs) if len(pair.target) == n] for n in range(5, 16)}
        print("  by letters: " + "  ".join(f"{n}: {share(flags):.1f} % of {len(flags)}" for n, flags in by_length.items()))
    print(f"oracle: {100 * len({pair.source for pair in pairs}) / len(pairs):.2f} % (one spelling for each pronunciation)")


if __name__ == "__main__":
    verb, *paths = sys.argv[1:]
    {"prepare": prepare, "judge": judge}[verb](*map(Path, paths))
