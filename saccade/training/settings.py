"""The dials of training; device and precision."""

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_origin

import torch

from ..errors import ResourceError, UsageError
from ..families import Make, knobs, read
from .schedules import Schedule
from .schedules.one_cycle import OneCycle

FEWEST = 200
"""Updates that are made however small the data."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train.

    When a run begins, `steps` become no more than `passes` over the training data take (0: any number), 200 at least; evaluations come
    closer in proportion.  A batch holds at most `tokens_per_batch` cells of its longer side.  `patience` counts evaluations without improvement before
    stopping early (0: never).  `accumulate` computes a batch in so many parts, one after the other: the same gradient in less memory.
    `average` tries the mean of the last so many checkpoints at the end, `ema` is the decay of a moving average of the weights
    (0: none), which is then what is evaluated and kept.  `beta1`, `beta2` and `epsilon` are Adam's, `momentum` is SGD's.

    `rates` multiplies the rate and `decays` sets the weight decay of the weights whose names match a pattern ("encoder.embedding*"),
    `freeze` leaves them as they are, `layer_decay` lowers the rate by this factor from each layer to the one below it.

    A checkpoint is written every `save_every` steps (0: with every evaluation), the last `keep`
    stay; "background" goes on training while it is written.  `tries`: how often a diverged run goes back to its checkpoint and halves the rate.
    While the disk is full it is tried again every `retry_every` seconds (0: never).
    `workers` processes prepare batches.  With several processes, "ddp" gives each the whole model and "fsdp" a share of it, and
    silence of `timeout` seconds is an error.  `forcing` lowers the probability of reading the true symbol from 1 to `forcing_floor`, at the pace
    `forcing_pace` (Bengio S. et al. 2015, section 2.4).  `precision` "auto" is bfloat16 where the processor computes in it, with
    float32 weights.  `UsageError` C012 if a number is out of bounds, C013 if a word is none of those allowed.
    """

    steps: int = 3000
    passes: int = 0
    tokens_per_batch: int = 2048
    learning_rate: float = 2e-3
    schedule: Make[Schedule] = OneCycle
    optimizer: Literal["adam", "adamw", "sgd", "adadelta"] = "adam"
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-9
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: float = 1.0
    label_smoothing: float = 0.1
    forcing: Literal["always", "linear", "exponential", "inverse_sigmoid"] = "always"
    forcing_pace: float = 1000.0
    forcing_floor: float = 0.0
    average: int = 0
    ema: float = 0.0
    accumulate: int = 1
    rates: dict[str, float] | None = None
    decays: dict[str, float] | None = None
    freeze: tuple[str, ...] = ()
    layer_decay: float = 1.0
    evaluate_every: int = 500
    save_every: int = 0
    keep: int = 2
    saving: Literal["background", "blocking"] = "background"
    tries: int = 2
    retry_every: float = 60.0
    workers: int = 0
    parallel: Literal["ddp", "fsdp"] = "ddp"
    timeout: float = 600.0
    compile: bool = False
    evaluate_examples: int = 1000
    patience: int = 0
    report_every: int = 50
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, (hint, _) in knobs(type(self)).items():
            if get_origin(hint) is Literal:
                read(hint, getattr(self, name), f"training.{name}")
        for names, holds, allowed, example in _LIMITS:
            for name in names:
                found = getattr(self, name)
                for key, value in found.items() if isinstance(found, dict) else [(None, found)]:
                    if value is not None and not holds(value):
                        raise _out_of_bounds(f"training.{name}", key, value, allowed, example)

    def shortened(self, batches: int) -> "Training":
        """No more updates than `passes` over so many batches, and as many evaluations as before."""
        steps = max(self.passes * batches, FEWEST)
        if not self.passes or steps >= self.steps:
            return self
        return replace(self, steps=steps, evaluate_every=-(-self.evaluate_every * steps // self.steps))

    def gold(self, step: int) -> float:
        """The probability of reading the true symbol at update `step`: a pure function, so resuming needs only the step."""
        k = self.forcing_pace
        if self.forcing == "always":
            return 1.0
        if self.forcing == "linear":
            share = 1.0 - step / k
        elif self.forcing == "exponential":
            share = math.exp(-step / k)
        else:
            share = k / (k + math.exp(min(step / k, 700.0)))
        return max(self.forcing_floor, min(1.0, share))


_LIMITS: tuple[tuple[tuple[str, ...], Callable[[float], bool], str, int | float], ...] = (
    (("steps", "tokens_per_batch", "evaluate_every", "report_every", "accumulate", "keep"), lambda x: x >= 1, "at least 1", 1),
    (("passes", "clip", "average", "patience", "save_every", "tries", "workers", "evaluate_examples", "retry_every"), lambda x: x >= 0, "at least 0", 0),
    (("weight_decay",), lambda x: 0 <= x < math.inf, "at least 0", 0.01),
    (("rates", "decays"), lambda x: 0 <= x < math.inf, "at least 0", 0.1),
    (("learning_rate",), lambda x: 0 < x < math.inf, "above 0", 1e-3),
    (("epsilon",), lambda x: 0 < x < math.inf, "above 0", 1e-9),
    (("forcing_pace",), lambda x: 0 < x < math.inf, "above 0", 1000.0),
    (("timeout",), lambda x: 0 < x < math.inf, "above 0", 600.0),
    (("label_smoothing", "forcing_floor"), lambda x: 0 <= x <= 1, "between 0 and 1", 0.1),
    (("beta1", "beta2", "momentum"), lambda x: 0 <= x < 1, "at least 0 and below 1", 0.9),
    (("ema",), lambda x: 0 <= x < 1, "at least 0 and below 1", 0.999),
    (("layer_decay",), lambda x: 0 < x <= 1, "above 0 and at most 1", 0.9),
)
"""What holds for which settings (for each entry of a table), how it is said, and a value that would do.  No number passes as none (NaN)."""


def _out_of_bounds(setting: str, key: str | None, found: int | float, allowed: str, example: int | float) -> UsageError:
    """About a setting, or about one entry of a table of them."""
    quoted = json.dumps(key, ensure_ascii=False)
    entry, fix = (setting, f"{setting}={example}") if key is None else (f"{setting}.{quoted}", f"{setting}={{ {quoted} = {example} }}")
    error = UsageError("C012", f"{entry} = {found}; it must be {allowed}", fix=fix)
    error.setting = entry
    return error


def pick_device(wanted: str) -> torch.device:
    """ "auto": a GPU if there is one; `ResourceError` R002 if the one asked for is not there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ResourceError("R002", f"there is no device {wanted!r} here", look=str(error).split("\n")[0], fix="training.device=cpu") from error
    return device


def pick_precision(wanted: str, device: torch.device) -> torch.dtype:
    """ "auto": bfloat16 where it is faster: GPUs that compute in it, CPUs with matrix tiles (AMX), and AMD's, else float32.

    Intel's AVX-512 alone has the instructions too, but products in float32 are up to twice as fast there (docs/performance.md).
    """
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        tiles, vectors = (getattr(torch.cpu, name, bool)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
        fast = tiles or (vectors and _vendor() == "AuthenticAMD")
    return torch.bfloat16 if fast else torch.float32


def _vendor() -> str:
    """Who made the processor, as Linux tells it; "" elsewhere."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("vendor_id"):
                return line.partition(":")[2].strip()
    return ""
