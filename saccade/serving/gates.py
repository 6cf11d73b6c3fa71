"""How far the gates of recurrent cells stood open over a text, as an image.

with watching_gates(model) as seen:
    model(tokens)
write_gates({name: torch.cat(calls, 1)[0].numpy() for name, calls in seen.items()}, symbols, Path("gates.png"))
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from .looks import WordLook, shown
from .pages import save

CAPTION = "Each cell is the mean over all units of a layer: of a gate how far it is open, of a new content (cell, new) how strong it is."


def mean_gates(gates: Mapping[str, Float[np.ndarray, "T D"]], symbols: Sequence[str]) -> WordLook:
    """A row for each gate of each layer, a column for each symbol; between 0 and 1.  `ValueError` if a gate has another length."""
    for name, values in gates.items():
        if len(values) != len(symbols):
            raise ValueError(f"{name}: {len(values)} steps, but {len(symbols)} symbols")
    return WordLook([shown(symbol) for symbol in symbols], list(gates), np.stack([np.abs(values).mean(1) for values in gates.values()]))


def write_gates(gates: Mapping[str, Float[np.ndarray, "T D"]], symbols: Sequence[str], path: Path, *, title: str | None = None) -> None:
    """A PNG; `UsageError` C030 without matplotlib."""
    from .plot import heat

    save(path, heat(mean_gates(gates, symbols), title, CAPTION, "mean over units"))
