"""JoeyNMT: its model, its loss, its optimiser and the training step of its own trainer, on the table's batches."""

import json
import math
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from joeynmt.batch import Batch as Joey
from joeynmt.config import parse_global_args
from joeynmt.model import build_model
from joeynmt.training import TrainManager
from joeynmt.vocabulary import Vocabulary
from torch import Tensor

from bench.peers.children.protocol import Batch, System, serve

SAME: dict[str, Any] = json.loads((Path(__file__).parents[1] / "joeynmt" / "models.json").read_text())
"""The sizes and the training, shared with the row of its own trainer."""
RENUMBERED = torch.tensor([1, 2, 3, 0])
"""Its ids of padding, BOS, EOS and the unknown: only unk 0, pad 1, bos 2, eos 3 pass its checks."""


class JoeyNMT:
    """The model of the table's sizes inside a TrainManager."""

    def __init__(self, configuration: str, vocabulary: int) -> None:
        words = Vocabulary([f"w{number}" for number in range(4, vocabulary)], SimpleNamespace(**SAME["specials"], sep_token=None, sep_id=None, lang_tags=[]))
        layout = SAME["models"][configuration]
        self.model = build_model(layout, src_vocab=words, trg_vocab=words)
        # It minimises a divergence, which is the cross-entropy less the entropy of the smoothed target.
        self.entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1 / (vocabulary - 2)))
        folder = Path(tempfile.mkdtemp(prefix="joeynmt-"))
        whole = {"name": "bench", "model_dir": str(folder), "use_cuda": False, "model": layout, "training": SAME["training"], "testing": {}}
        args = parse_global_args(whole | {"data": {"special_symbols": dict(SAME["specials"])}}, rank=0, mode="train")
        self.model.loss_function = (args.train.loss, args.train.label_smoothing)
        self.manager = TrainManager(0, self.model, folder, args.device, autocast=args.autocast, seed=1, train_args=args.train, dev_args=args.test)

    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        known = {"src": batch.source, "trg": batch.target}
        return {name: torch.where(ids < 4, RENUMBERED[ids.clamp(max=3)], ids) for name, ids in known.items()} | {"src_length": batch.lengths}

    def joey(self, prepared: dict[str, Tensor]) -> Joey:
        """A fresh one each time, as its own iterator makes them: the training step sorts it in place."""
        marks = {"src_prompt_mask": None, "trg_prompt_mask": None, "device": torch.device("cpu"), "pad_index": 1, "eos_index": 3}
        return Joey(**prepared, **marks, indices=torch.arange(len(prepared["src"])))

    def update(self, prepared: dict[str, Tensor]) -> float:
        """The lines of TrainManager.train_and_validate between two batches."""
        manager = self.manager
        loss, _ = manager._train_step(self.joey(prepared))
        manager.clip_grad_fun(parameters=self.model.parameters())
        manager.optimizer.step()
        manager.scheduler.step(manager.stats.steps)
        self.model.zero_grad()
        manager.stats.steps += 1
        return loss + self.entropy

    def likelihood(self, prepared: dict[str, Tensor]) -> Tensor:
        batch = self.joey(prepared)
        batch.sort_by_src_length()
        _, log_probabilities, _, _ = self.model(return_type="loss", **vars(batch))
        return -log_probabilities.gather(-1, batch.trg[..., None])[..., 0][batch.trg != 1].sum()


def make(configuration: str, vocabulary: int, precision: str) -> System:
    """JoeyNMT computes in float32 on CPUs, whatever it is asked for."""
    if precision != "float32":
        print("joeynmt computes in float32 on CPUs", file=sys.stderr)
    return JoeyNMT(configuration, vocabulary)


if __name__ == "__main__":
    serve(make)
