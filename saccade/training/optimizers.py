"""Optimizers: which weights learn, at which share of the rate, with which weight decay."""

import difflib
import inspect
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from ..errors import UsageError
from .settings import Training

Names = dict[nn.Parameter, list[str]]
"""Every weight with all its names: a shared one has several."""

_LAYER = re.compile(r"(?:.*?\.)?(?:layers|cells)\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:.*?\.)?(?=(?:embedding|position)\.)")
_SHOWN = 12  # names in a message


def build_optimizer(training: Training, model: nn.Module) -> torch.optim.Optimizer:
    """Over the groups of `weight_groups` (`UsageError` C012 as there), fused where torch has it; `set_rates` comes before every update."""
    groups = weight_groups(training, model)
    if not training.compile:
        _without_compiler()
    if not groups:  # a model that learns by counting: torch wants something to hold
        groups = [{"params": [torch.zeros(0, requires_grad=True)], "factor": 1.0}]
    rate, betas = training.learning_rate, (training.beta1, training.beta2)
    if is_sparse(model):
        return torch.optim.SGD(groups, lr=rate)
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=training.momentum, fused=True)
    if training.optimizer == "adadelta":
        return torch.optim.Adadelta(groups, lr=rate, rho=0.95, eps=1e-6)
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=rate, betas=betas, eps=training.epsilon, fused=True)


def is_sparse(model: nn.Module) -> bool:
    """Do its gradients hold only the rows that a batch used?"""
    return any(getattr(module, "sparse", False) for module in model.modules())


def _refuse_what_touches_every_row(training: Training) -> None:
    """`UsageError` C012 for what would move rows that have no gradient: any other optimizer than SGD, momentum, weight decay."""
    turned = training.schedule(training.learning_rate, training.steps).momentum(0) is not None
    if training.optimizer != "sgd":
        found, fix = f"training.optimizer = {training.optimizer}", "training.optimizer=sgd"
    elif training.weight_decay or any((training.decays or {}).values()):
        found, fix = "training.weight_decay", "training.weight_decay=0"
    elif training.momentum or turned:
        found, fix = "momentum", "training.momentum=0, and a schedule that does not turn it: training.schedule=linear"
    else:
        return
    raise UsageError("C012", f"{found}: gradients of this model hold only the rows that a batch used", fix=fix)


def _without_compiler() -> None:
    """Spare a second: torch imports its compiler only to keep it away from these functions, which nothing compiles here."""
    for part in vars(torch.optim.Optimizer).values():
        plain = getattr(part, "__wrapped__", None)
        if plain is not None:
            plain.__dynamo_disable = plain


def take_step(optimizer: torch.optim.Optimizer) -> None:
    """The weights take their gradients, as by `optimizer.step()`, which would import torch's compiler (a second) to tell it to stay away."""
    with torch.no_grad():
        inspect.unwrap(type(optimizer).step)(optimizer)


def set_rates(optimizer: torch.optim.Optimizer, rate: float, momentum: float | None = None) -> None:
    """Give every group its share of `rate`; a `momentum` becomes Adam's beta1 or SGD's momentum (None: as it is)."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif momentum is not None and "momentum" in group:
            group["momentum"] = momentum


def weight_groups(training: Training, model: nn.Module) -> list[dict[str, Any]]:
    """The weights that learn, those of like rate and decay together; what `training.freeze` names no longer asks for gradients.

    Groups stand in the order in which the model names the first weight of each; `group["factor"]` is its share of the rate.  A
    pattern (as for file names: `*`, `?`, `[ab]`) may match any name of a shared weight; of several patterns that match, the
    last one counts.  `UsageError` C012 if a pattern matches nothing or nothing is left to train.
    """
    if is_sparse(model):
        _refuse_what_touches_every_row(training)
    names = _names_of(model)
    every = [name for called in names.values() for name in called]
    for setting, patterns in (("freeze", training.freeze), ("rates", training.rates or {}), ("decays", training.decays or {})):
        for pattern in patterns:
            _require_match(f"training.{setting}", pattern, every)
    layered = layer_factors(every, training.layer_decay)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for weight, called in names.items():
        if any(fnmatchcase(name, pattern) for name in called for pattern in training.freeze):
            weight.requires_grad_(False)
        if not weight.requires_grad:
            continue
        factor = _last_match(training.rates, called, 1.0) * min(layered[name] for name in called)
        decay = _last_match(training.decays, called, training.weight_decay)
        new = {"params": [], "factor": factor, "lr": training.learning_rate * factor, "weight_decay": decay}
        groups.setdefault((factor, decay), new)["params"].append(weight)
    if not groups and training.freeze:
        raise _refusal("training.freeze", list(training.freeze), "it leaves nothing to train", "fewer patterns")
    return list(groups.values())


def layer_factors(names: Iterable[str], decay: float) -> dict[str, float]:
    """Each weight's share of the rate when it falls by `decay` from layer to layer: Howard and Ruder (2018), section 3.2; Bao et al. (2022).

    Encoder and decoder are a stack each, since every layer of the decoder looks at the encoder's top.  In a stack of N layers, layer
    number i has decay^(N - i), the embeddings and positions below it decay^(N + 1), and whatever stands above or beside it 1.
    """
    names = list(names)
    layers = {name: (found[0][: found.start(1)], int(found[1])) for name in names if (found := _LAYER.match(name))}
    heights: dict[str, int] = {}
    for stack, number in layers.values():
        heights[stack] = max(heights.get(stack, 0), number + 1)
    depths = dict.fromkeys(names, 0)
    for name in names:
        if name in layers:
            stack, number = layers[name]
            depths[name] = heights[stack] - number
        elif below := _EMBEDDING.match(name):
            depths[name] = 1 + max((height for stack, height in heights.items() if stack.startswith(below[0])), default=0)
    return {name: decay**depth for name, depth in depths.items()}


def _names_of(model: nn.Module) -> Names:
    names: Names = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(weight, []).append(name)
    return names


def _last_match(table: dict[str, float] | None, called: list[str], otherwise: float) -> float:
    found = [value for pattern, value in (table or {}).items() if any(fnmatchcase(name, pattern) for name in called)]
    return found[-1] if found else otherwise


def _require_match(setting: str, pattern: str, names: list[str]) -> None:
    """`UsageError` C012 with the nearest pattern that would match something, unless this one does."""
    if any(fnmatchcase(name, pattern) for name in names):
        return
    parts = {f"{name[: dot.end()]}*" for name in names for dot in re.finditer(r"\.", name)}
    near = difflib.get_close_matches(pattern, sorted({*names, *parts}), n=1, cutoff=0.6)
    there = list(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names))
    more = [f"and {len(there) - _SHOWN} more"] if len(there) > _SHOWN else []
    raise _refusal(setting, pattern, "no weight has such a name", f"did you mean {near[0]}?" if near else "a pattern of these names", [*there[:_SHOWN], *more])


def _refusal(setting: str, found: object, why: str, fix: str, look: Iterable[str] = ()) -> UsageError:
    error = UsageError("C012", f"{setting} = {found!r}: {why}", look=look, fix=fix)
    error.setting = f'{setting}."{found}"'
    return error
