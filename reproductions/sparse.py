"""What a pattern costs: pairs and seconds grow as n^1.5 where dense attention grows as n^2 (Child et al. 2019, section 4).

    OMP_NUM_THREADS=1 python -m reproductions.sparse [shortest=2048] [longest=16384]

The stride is the root of n, a head has 64 features, there is one head, one text and one thread.  Dense is torch's own fused causal
kernel, which skips what is hidden.  Seconds are the processor's, forward and backward together, the best of three: on a machine that does
nothing else they are those of the clock.
"""

import sys
import time
from collections.abc import Callable
from math import isqrt, log

import torch
from torch import Tensor
from torch.nn import functional

from saccade.attention.patterns import Pattern
from saccade.attention.patterns.fixed import Fixed
from saccade.attention.patterns.strided import Strided
from saccade.attention.scores.scaled_dot import ScaledDot
from saccade.layers.dropout import Dropout

DIM = 64
PATTERNS: dict[str, Callable[[int], Pattern]] = {
    "strided": lambda length: Strided(stride=isqrt(length)),
    "fixed, c = 1": lambda length: Fixed(stride=isqrt(length), summary=1),
    "fixed, c = 4": lambda length: Fixed(stride=isqrt(length), summary=4),
}
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def exponent(found: dict[int, float]) -> float:
    """The slope of a line through the logarithms, by least squares."""
    x, y = torch.tensor([[log(length), log(value)] for length, value in found.items()], dtype=torch.float64).T
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def show(name: str, found: dict[int, float], form: str) -> None:
    """One row: a value for each length, and the exponent."""
    print(f"{name:<28}" + "".join(f"{value:>14{form}}" for value in found.values()) + f"{exponent(found):>12.3f}")


def seconds(attend: Attend, length: int) -> float:
    """The best of three, after one to warm up."""
    torch.manual_seed(0)
    inputs = [torch.randn(1, 1, length, DIM, requires_grad=True) for _ in range(3)]
    taken = []
    for _ in range(4):
        begun = time.process_time()
        torch.autograd.grad(attend(*inputs).sum(), inputs)
        taken.append(time.process_time() - begun)
    return min(taken[1:])


def dense(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Every place sees every place before."""
    return functional.scaled_dot_product_attention(query, keys, values, is_causal=True)


def by_blocks(pattern: Pattern) -> Attend:
    """Every place sees what the pattern shows."""
    parts = ScaledDot(DIM, DIM), Dropout(0.0)
    return lambda query, keys, values: pattern.attend(parts, query, keys, values)


def main() -> None:
    """Pairs, then seconds."""
    options = {"shortest": "2048", "longest": "16384"} | dict(setting.split("=", 1) for setting in sys.argv[1:])
    torch.set_num_threads(1)
    squares = [1024, 4096, 16384]
    print(f"{'pairs':<28}" + "".join(f"{length:>14,}" for length in squares) + f"{'exponent':>12}")
    show("dense", {length: length * (length + 1) // 2 for length in squares}, ",")
    for name, pattern in PATTERNS.items():
        pairs = {length: pattern(length).pairs(length) for length in squares}
        show(f"{name}: near + far", {length: each.near + each.far for length, each in pairs.items()}, ",")
        show(f"{name}: near or far", {length: each.either for length, each in pairs.items()}, ",")
    lengths = [2**power for power in range(7, 20) if int(options["shortest"]) <= 2**power <= int(options["longest"])]
    print(f"{'seconds':<28}" + "".join(f"{length:>14,}" for length in lengths) + f"{'exponent':>12}")
    show("dense", {length: seconds(dense, length) for length in lengths}, ".4f")
    for name, pattern in PATTERNS.items():
        show(name, {length: seconds(by_blocks(pattern(length)), length) for length in lengths}, ".4f")


if __name__ == "__main__":
    main()
