"""Translation and every other rewriting of one sequence into another."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from ..attention.watch import watching
from ..batches.examples import Pairs
from ..batches.ids import ids_of
from ..decoders import Decoder
from ..decoders.transformer import Transformer as TransformerDecoder
from ..encoders import Encoder
from ..encoders.transformer import Transformer as TransformerEncoder
from ..errors import DataError
from ..families import Make, choose
from ..layers.cross_entropy import cross_entropy
from ..metrics import Metric, Score
from ..models import Seq2Seq
from ..search import Search, beam_search
from ..search.constraints import Constraint, forbid, forced_prefix, no_repeat
from ..search.forcing import forced
from ..text.corpus import Pair, check_pairs, evenly, read_pairs, split_by_source
from ..text.tokenizers import Tokenizer
from ..text.tokenizers.unigram import Unigram
from ..text.vectors import Coverage, fill, symbols_of
from ..types import BOS, EOS, PAD, UNK, Batch, Look, Loss, Piece, pad, to
from . import Data, Prediction, Splits, Task
from ._tensors import bytes_of, heads_of

LEARNED_FROM = 8_000_000  # characters, of both sides together
_CHUNK = 1024  # pairs that are encoded at once


class Translate(Task):
    """One text in, one text out.

    One `tokenizer` is learned on both sides unless `target_tokenizer` is given; with one, `share_embeddings` lets both sides
    use one matrix.  Texts longer than `longest` tokens are left out of training.  The first of `metrics` picks the best model.
    """

    def __init__(
        self,
        *,
        tokenizer: Make[Tokenizer] = Unigram,
        target_tokenizer: Make[Tokenizer] | None = None,
        encoder: Make[Encoder] = TransformerEncoder,
        decoder: Make[Decoder] = TransformerDecoder,
        share_embeddings: bool = True,
        metrics: tuple[str, ...] = ("bleu", "chrf"),
        longest: int = 256,
    ) -> None:
        self.encoder, self.decoder, self.longest = encoder, decoder, longest
        self.source: Tokenizer = tokenizer()
        self.target: Tokenizer = target_tokenizer() if target_tokenizer else self.source
        self.share_embeddings = share_embeddings and target_tokenizer is None
        self._learned = ""
        self._vectors: list[Path | None] = []
        self._coverage: list[Coverage] = []
        self.metrics: list[Metric] = [choose(Metric, name, "metrics")() for name in metrics]

    def read(self, data: Data) -> Splits:
        """Pairs of texts; what has no file of its own is set aside by hash of the source, so duplicates never straddle."""
        self._vectors = data.vector_files(1 if self.share_embeddings else 2)
        columns = (data.columns[0], data.columns[1]) if data.columns else None
        read = partial(read_pairs, columns=columns)
        train = read(data.paths("train"), keep_first=data.keep_first)
        valid, test = (read(data.paths(split)) if getattr(data, split) else [] for split in ("valid", "test"))
        if not data.valid or not data.test:
            train, aside_valid, aside_test = split_by_source(train, valid=0.0 if data.valid else data.valid_share, test=0.0 if data.test else data.test_share)
            valid, test = valid or aside_valid, test or aside_test
        return Splits(train, valid, test)

    def read_files(self, paths: Sequence[Path]) -> Sequence[Pair]:
        """Pairs from two parallel files or one TSV."""
        return read_pairs(paths)

    def warnings(self, splits: Splits) -> list[str]:
        """D006, D009, D031 and D046."""
        return check_pairs(splits.train) + [each.render("warning") for found in self._coverage for each in found.warnings]

    def learn(self, splits: Splits) -> None:
        """Tokenizers, from the training pairs only.

        From all of them if they have at most 8 million characters (about 130,000 sentences), else from every 2nd, 4th, 8th ...
        so that they have at most as many: `summary` says which.  Learning takes about 20 bytes a character.
        """
        sample, step = evenly(splits.train, LEARNED_FROM)
        self._learned = f", learned from one pair in {step:,}" if step > 1 else ""
        sources, targets = (list(dict.fromkeys(side)) for side in zip(*sample, strict=True))
        del sample
        if self.target is self.source:
            self.source.learn([*sources, *targets])
        else:
            self.source.learn(sources)
            self.target.learn(targets)

    def build(self) -> Seq2Seq:
        """Fresh weights, from torch's generator."""
        return Seq2Seq(self.source.size, self.target.size, self.encoder, self.decoder, self.share_embeddings)

    def initialise(self, model: nn.Module) -> None:
        """Embeddings of the symbols that `data.vectors` knows; a symbol is looked for as it is written, without the marks of its tokenizer."""
        sides = zip((self.source, self.target), (model.encoder.embedding, model.decoder.embedding), self._vectors)
        self._coverage = [fill(embedding, symbols_of(tokenizer), path) for tokenizer, embedding, path in sides if path]

    def examples(self, raw: Sequence[Pair], store: Path | None = None) -> Pairs:
        """A source ends with EOS; a target begins with BOS and ends with EOS.  `DataError` D028 if nothing is short enough."""
        sizes = {"source": self.source.size, "target": self.target.size}
        digests = {name: blake2b(tokenizer.state()).hexdigest() for name, tokenizer in (("source", self.source), ("target", self.target))}
        about = {"task": "translate", "longest": self.longest, "examples": len(raw), **digests}
        source, target = ids_of(store, sizes, self._encoded(raw), about)
        return Pairs(source, target, len(raw) - len(source))

    def _encoded(self, raw: Sequence[Pair]) -> Iterator[tuple[list[int], list[int]]]:
        """Source and target of every pair that is short enough."""
        longest = kept = 0
        pairs = iter(raw)
        while chunk := list(islice(pairs, _CHUNK)):
            sources = self.source.encode_lines([pair.source for pair in chunk])
            targets = self.target.encode_lines([pair.target for pair in chunk])
            for source, target in zip(sources, targets, strict=True):
                longest = max(longest, len(source) + 1, len(target) + 2)
                if max(len(source), len(target)) < self.longest:
                    kept += 1
                    yield [*source, EOS], [BOS, *target, EOS]
        if not kept:
            raise DataError("D028", f"every pair is longer than {self.longest} tokens", fix=f"longest={longest}")

    def loss(self, model: nn.Module, batch: Batch, smoothing: float, gold: float, generator: torch.Generator) -> Loss:
        """Cross-entropy of the symbols after BOS, EOS included."""
        read, wanted = batch.target.ids[:, :-1], batch.target.ids[:, 1:]
        if gold >= 1.0:
            return model.loss(batch.source, read, wanted, smoothing)
        return cross_entropy(forced(model.decoder, model.encoder(batch.source), read, gold, generator), wanted, smoothing)

    def evaluate(self, model: nn.Module, raw: Sequence[Pair], search: Search) -> list[Score]:
        """The metrics of what the model says for the sources."""
        said = [answers[0].text if answers else "" for answers in self.predict(model, [pair.source for pair in raw], search)]
        return [metric(said, [pair.target for pair in raw]) for metric in self.metrics]

    def predict(
        self, model: nn.Module, texts: Sequence[str], search: Search, prefixes: Sequence[str] | None = None, tokens_per_batch: int = 2048
    ) -> list[list[Prediction]]:
        """For each text the `search.beam` best answers, best first; an empty text has the empty answer.

        `prefixes`: each answer begins with its own.  Texts are batched by length; the answers come in the order of the texts.
        """
        answers: list[list[Prediction]] = [[Prediction("", 0.0, 0.0, [], True)] for _ in texts]
        sources = [[*self.source.encode(text), EOS] for text in texts]
        asked = [i for i, text in enumerate(texts) if text.strip()]
        model.eval()
        for rows in _by_length(asked, sources, tokens_per_batch):
            wanted = [self.target.encode(prefixes[i]) for i in rows] if prefixes else None
            for i, found in zip(rows, self._search(model, [sources[i] for i in rows], search, wanted), strict=True):
                answers[i] = found
        return answers

    @torch.no_grad()
    def _search(self, model: nn.Module, sources: list[list[int]], search: Search, prefixes: list[list[int]] | None) -> list[list[Prediction]]:
        device = next(model.parameters()).device
        source = to(pad(sources), device)
        prompt = torch.full((len(sources), 1), BOS, device=device)
        constraints: list[Constraint] = [forbid([PAD, BOS, UNK])]
        if search.no_repeat:
            constraints.append(no_repeat(search.no_repeat))
        limits = (source.lengths * search.longest_ratio).long() + search.longest_extra
        if prefixes:
            constraints.append(forced_prefix(to(pad(prefixes), device), 1))
            limits = limits + torch.tensor([len(p) for p in prefixes], device=device)
        found = beam_search(model.decoder, model.encoder(source), prompt, search, limits=limits.clamp_min(1), constraints=constraints)
        rows = zip(found.tokens.tolist(), found.scores.tolist(), found.ranks.tolist(), found.ended.tolist(), strict=True)
        return [[self._prediction(*each) for each in zip(*row, strict=True) if each[1] > float("-inf")] for row in rows]

    def _prediction(self, tokens: list[int], score: float, rank: float, ended: bool) -> Prediction:
        ids = tokens[: tokens.index(EOS)] if EOS in tokens else tokens
        return Prediction(self.target.decode(ids), score, rank, ids, ended)

    @torch.no_grad()
    def look(self, model: nn.Module, text: str, answer: Prediction) -> Look:
        """Where the model looked for each symbol of `answer`, re-read with the plain attention path."""
        device = next(model.parameters()).device
        source = to(pad([[*self.source.encode(text), EOS]]), device)
        model.eval()
        with watching(model) as seen:
            model(source, torch.tensor([[BOS, *answer.ids]], device=device))
        weights = {name: heads_of(calls) for name, calls in seen.items() if calls and name.endswith("cross_attention")}
        return Look(text, answer.text, self.source.pieces(text), self._output_pieces(answer), weights, answer.score)

    def _output_pieces(self, answer: Prediction) -> list[Piece]:
        """The symbols said, with the characters of the answer that each of them added."""
        ends = [len(self.target.decode(answer.ids[: i + 1])) for i in range(len(answer.ids))]
        starts = [0, *ends][: len(ends)]
        return [Piece(i, answer.text[min(a, b) : b], min(a, b), b) for i, a, b in zip(answer.ids, starts, ends, strict=True)]

    def state(self) -> dict[str, Tensor]:
        """The tokenizers."""
        found = {"tokenizer.source": bytes_of(self.source.state())}
        if self.target is not self.source:
            found["tokenizer.target"] = bytes_of(self.target.state())
        return found

    def restore(self, state: dict[str, Tensor]) -> None:
        """The tokenizers; `ModelError` M011 if one is damaged."""
        self.source.restore(state["tokenizer.source"].numpy().tobytes())
        if self.target is not self.source:
            self.target.restore(state["tokenizer.target"].numpy().tobytes())

    def summary(self) -> list[tuple[str, str]]:
        """Sizes of the vocabularies, and how much of them the vectors know."""
        vectors = [("Vectors", str(found)) for found in self._coverage]
        if self.target is self.source:
            return [("Tokens", f"{self.source.size:,} symbols, one vocabulary for both sides{self._learned}"), *vectors]
        return [("Tokens", f"{self.source.size:,} source symbols, {self.target.size:,} target symbols{self._learned}"), *vectors]


def _by_length(rows: Iterable[int], sources: list[list[int]], budget: int) -> Iterator[list[int]]:
    """Rows of like length together, at most `budget` symbols at a time, longest first (so that memory runs out at once or never)."""
    batch: list[int] = []
    for row in sorted(rows, key=lambda i: -len(sources[i])):
        if batch and len(sources[batch[0]]) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
