"""The dials of training, and what they mean for a model: optimizer, precision, device."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ..errors import ResourceError, UsageError
from ..families import Make
from .schedules import Schedule
from .schedules.one_cycle import OneCycle


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train.

    A batch holds at most `tokens_per_batch` cells of its longer side.  `patience` counts evaluations without improvement before
    stopping early (0: never).  `accumulate` computes a batch in so many parts, one after the other: the same gradient in less memory.
    `average` tries the mean of the last so many checkpoints at the end, `ema` is the decay of a moving average of the weights
    (0: none), which is then what is evaluated and kept.  `rates` and `decays` multiply the rate and set the weight decay of the
    weights whose names match a pattern, `freeze` leaves them as they are, `layer_decay` lowers the rate by this factor from
    each layer to the one below it.  A checkpoint is written every `save_every` steps (0: with every evaluation), the last `keep`
    stay; "background" goes on training while it is written.  `tries`: how often a diverged run goes back to its checkpoint and halves the rate.
    `workers` processes prepare batches.  With several processes, "ddp" gives each the whole model and "fsdp" a share of it, and
    silence of `timeout` seconds is an error.  `forcing` lowers the probability of reading the true symbol from 1 to `forcing_floor`, at the pace
    `forcing_pace` (Bengio S. et al. 2015, section 2.4).  `precision` "auto" is bfloat16 where the processor computes in it, with
    float32 weights.
    """

    steps: int = 3000
    tokens_per_batch: int = 2048
    learning_rate: float = 2e-3
    schedule: Make[Schedule] = OneCycle
    optimizer: Literal["adam", "adamw", "sgd", "adadelta"] = "adam"
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-9
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
        for name, least in {
            "steps": 1,
            "tokens_per_batch": 1,
            "evaluate_every": 1,
            "report_every": 1,
            "forcing_pace": 1e-9,
            "clip": 0,
            "average": 0,
            "patience": 0,
        }.items():
            if getattr(self, name) < least:
                raise UsageError("C012", f"training.{name} = {getattr(self, name)}; it must be at least {least}", fix=f"training.{name}={max(least, 1)}")
        for name in ("label_smoothing", "forcing_floor", "beta1", "beta2"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError("C012", f"training.{name} = {getattr(self, name)}; it must be between 0 and 1", fix=f"training.{name}=0.1")

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

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Over all weights, fused where torch has it; the rate is set before every update."""
        weights, betas = list(model.parameters()), (self.beta1, self.beta2)
        if self.optimizer == "sgd":
            return torch.optim.SGD(weights, lr=self.learning_rate, weight_decay=self.weight_decay)
        if self.optimizer == "adadelta":
            return torch.optim.Adadelta(weights, lr=self.learning_rate, rho=0.95, eps=1e-6, weight_decay=self.weight_decay)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(weights, lr=self.learning_rate, betas=betas, eps=self.epsilon, weight_decay=self.weight_decay, fused=True)


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
    """ "auto": bfloat16 where the matrix units compute in it, else float32."""
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return torch.bfloat16 if fast else torch.float32
