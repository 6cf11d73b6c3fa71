"""Does a model fall with the length of its source?  With attention it should not (Bahdanau et al. 2015, figure 2).

    python -m reproductions.length figure.png with=runs/attention without=runs/blind [edges=9,11,13,16]

Scores the runs' own test data in buckets of source length (words), with a bootstrap interval of 95 %, and draws them.  `join=N` adds
tests of 2 to N sentences joined into one, longer than anything in training.
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from saccade.run import held_out, load
from saccade.text.corpus import Pair


def joined(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """`count` neighbours as one pair."""
    groups = [pairs[i : i + count] for i in range(0, len(pairs) - count + 1, count)]
    return [Pair(" ".join(pair.source for pair in group), " ".join(pair.target for pair in group)) for group in groups]


def buckets(pairs: Sequence[Pair], edges: Sequence[int], join: int) -> dict[str, list[Pair]]:
    """Test sentences by source words, then joined ones."""
    found = {}
    for low, high in zip([1, *edges], [*edges, 10**6]):
        inside = [pair for pair in pairs if low <= len(pair.source.split()) < high]
        longest = max(len(pair.source.split()) for pair in inside)
        found[f"{low}-{min(high - 1, longest)}"] = inside
    return found | {f"{count} joined": joined(pairs, count) for count in range(2, join + 1)}


def interval(metric: object, said: list[str], wanted: list[str], draws: int = 200) -> tuple[float, float]:
    """The middle 95 % of `draws` resamplings."""
    draw, rows = random.Random(0), range(len(said))
    values = sorted(metric([said[i] for i in picked], [wanted[i] for i in picked]).value for picked in (draw.choices(rows, k=len(said)) for _ in range(draws)))
    return values[draws // 40], values[-1 - draws // 40]


def main() -> None:
    """Print the table, draw the figure."""
    output, *settings = sys.argv[1:]
    options = dict(setting.split("=", 1) for setting in settings)
    edges = [int(edge) for edge in options.pop("edges", "9,11,13,16").split(",")]
    join = int(options.pop("join", "1"))
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, run in options.items():
        model = load(run)
        metric = model.task.metrics[0]
        groups, points = buckets(held_out(Path(run)), edges, join), []
        for label, pairs in groups.items():
            said = [answer.text for answer in model.predict([pair.source for pair in pairs])]
            wanted = [pair.target for pair in pairs]
            score, (low, high) = metric(said, wanted), interval(metric, said, wanted)
            points.append((score.value, score.value - low, high - score.value))
            print(f"{name:<10} {label:>10} words  {len(pairs):5d} sentences  {score.name} {score.value:6.2f}  [{low:.2f}, {high:.2f}]")
        values, below, above = zip(*points)
        axes.errorbar(list(groups), values, yerr=[below, above], marker="o", capsize=3, label=name)
    axes.set_xlabel("words in the source")
    axes.set_ylabel(score.name)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.savefig(output, dpi=120)


if __name__ == "__main__":
    main()
