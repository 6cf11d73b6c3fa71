"""Language models: how likely is what comes next, given what came so far."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..attention.watch import watching
from ..batches.examples import Examples, Texts
from ..batches.ids import Ids, ids_of
from ..batches.streams import Excerpt, Stream
from ..decoders import Decoder
from ..decoders.transformer import Transformer
from ..errors import UsageError
from ..families import Make
from ..layers.positions.rotary import Rotary
from ..metrics import Metric, Score
from ..metrics.bits import Bits
from ..metrics.perplexity import Perplexity
from ..models import LanguageModel as Model
from ..search import Sampling, Search
from ..text.passages import characters_of, read_passages, sample_of
from ..text.tokenizers import Tokenizer
from ..text.tokenizers.unigram import Unigram
from ..text.vectors import Coverage, fill, symbols_of
from ..types import BOS, EOS, PAD, UNK, Look, Loss, Padded, State, Symbol, detach, to
from . import Data, Prediction, Splits, Task
from ._speaker import Speaker
from ._tensors import bytes_of, heads_of
from ._texts import read_texts

PIECES = partial(Unigram, size="auto")
GPT = partial(Transformer, position=Rotary, initialisation="gpt2", embedding_scale=False)
LEARNED_FROM = 8_000_000  # characters
LOOKED_AT = 512  # symbols of a look, at most
_CHUNK = 1024  # lines that are encoded at once
_PIECE = 2048  # symbols that are read at once where no gradient is wanted


class LanguageModel(Task):
    """Running text; every line ends with EOS, which stands for the line break, so that no symbol of the text is left out.

    The text is one stream.  `carry` true: it is read in rows that go on where they stopped, the state carried along (truncated
    backpropagation: an update every `context` symbols, gradients `reach` symbols back, as many if left out); false: in windows of
    `context` symbols that know nothing of each other; left out: true where the decoder's state does not grow.  With `documents`
    every line is a text of its own, of at most `longest` symbols in training.
    """

    takes = (1, 1_000_000)
    continues = True
    tries = ("'a beginning'", "'a beginning' --explain")
    aside = "taken from the end of the text"
    suited: ClassVar[dict[str, Any]] = {
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "schedule": {"name": "cosine", "warmup": 100, "floor": 0.1},
        "passes": 5,
        "label_smoothing": 0.0,
    }

    def __init__(
        self,
        *,
        tokenizer: Make[Tokenizer] = PIECES,
        decoder: Make[Decoder] = GPT,
        context: int = 128,
        reach: int | None = None,
        carry: bool | None = None,
        documents: bool = False,
        longest: int = 1024,
    ) -> None:
        for name, value in (("context", context), ("reach", reach), ("longest", longest)):
            if value is not None and value < 1:
                raise UsageError("C012", f"{name} = {value}; it must be at least 1", fix=f"{name}=64")
        self.tokenizer: Tokenizer = tokenizer()
        self.decoder, self.context, self.reach, self.documents, self.longest = decoder, context, reach or context, documents, longest
        self.carry, self.whole_lines, self._learned = carry, documents, ""
        self._vectors: Path | None = None
        self._coverage: list[Coverage] = []
        self.metrics: list[Metric] = [Perplexity(), Bits(), Bits(per="word")]

    @cached_property
    def carries(self) -> bool:
        """Does a row go on where it stopped?  `UsageError` C012 if that was asked for and the state would grow without end."""
        if self.documents or self.carry is False:
            return False
        with torch.device("meta"):
            bounded = self.decoder(8, None).bounded
        if self.carry and not bounded:
            raise UsageError("C012", "carry = true, but the state of this decoder grows with the text", fix="carry=false, or decoder.span=128")
        return bounded

    def read(self, data: Data) -> Splits:
        """Lines; what has no file of its own is taken from the end of the training text, validation before test."""
        (self._vectors,) = data.vector_files(1)
        return read_texts(data)

    def read_files(self, paths: Sequence[Path]) -> Sequence[str]:
        """The lines of all files, one behind the other."""
        return read_passages(paths)

    def warnings(self, splits: Splits) -> list[str]:
        """What is odd about the vectors."""
        return [each.render("warning") for found in self._coverage for each in found.warnings]

    def learn(self, splits: Splits) -> None:
        """The tokenizer, from the training text only: from all of it, or from every Nth line where it could not hold more."""
        lines, step = (splits.train, 1) if self.tokenizer.streams else sample_of(splits.train, LEARNED_FROM)
        self._learned = f", learned from one line in {step:,}" if step > 1 else ""
        self.tokenizer.learn(lines)

    def build(self) -> Model:
        """Fresh weights, from torch's generator."""
        self.carries  # noqa: B018 (says what is impossible before anything is trained)
        return Model(self.tokenizer.size, self.decoder)

    def initialise(self, model: nn.Module) -> None:
        """Embeddings of the symbols that `data.vectors` knows."""
        if self._vectors:
            self._coverage = [fill(model.decoder.embedding, symbols_of(self.tokenizer), self._vectors)]

    def examples(self, raw: Sequence[str], store: Path | None = None) -> Examples:
        """The stream (`DataError` D036 if it is shorter than one context), or the lines as texts of their own (D028 if all are too long)."""
        lines = self._lines(raw, store)
        if not self.documents:
            return Stream(lines, self.context, self.carries)
        return Texts(lines, self.longest)

    def _lines(self, raw: Sequence[str], store: Path | None) -> Ids:
        """Every line with EOS behind it, and BOS before it if it is a text of its own."""
        digest = blake2b(self.tokenizer.state()).hexdigest()
        about = {"task": "language_model", "documents": self.documents, "lines": len(raw), "text": digest}
        return ids_of(store, {"text": self.tokenizer.size}, self._encoded(raw), about)[0]

    def _encoded(self, raw: Iterable[str]) -> Iterator[tuple[list[int]]]:
        begin = [BOS] if self.documents else []
        lines = iter(raw)
        while chunk := list(islice(lines, _CHUNK)):
            for ids in self.tokenizer.encode_lines(chunk):
                yield ([*begin, *ids, EOS],)

    def fit(self, model: nn.Module, examples: Examples) -> bool:
        """A decoder that counts reads the training text once."""
        if model.decoder.learns == "gradients":
            return False
        lines: Ids = examples.lines  # type: ignore[attr-defined]  # whichever of the two they are
        model.decoder.count(lines if self.documents else [np.concatenate([[BOS], lines.flat])])
        return True

    def begin(self, model: nn.Module, rows: int) -> State:
        """The state before the text, and no symbols that are to be read again."""
        _, state = model.decoder.start(None, rows)
        return state, torch.zeros(rows, 0, dtype=torch.long, device=next(model.parameters()).device)

    def loss(self, model: nn.Module, batch: Any, smoothing: float, gold: float, generator: torch.Generator) -> Loss:
        """Cross-entropy of every symbol after those before it."""
        if gold < 1.0:
            raise UsageError("C012", "training.forcing: a language model reads the true text", fix='training.forcing="always"')
        if isinstance(batch, Padded):
            batch = Excerpt(batch.ids[:, :-1], batch.ids[:, 1:])
        return self._loss(model, batch, self.begin(model, len(batch.tokens))[0], smoothing)[0]

    def carried_loss(
        self, model: nn.Module, batch: Any, carried: State | None, smoothing: float, gold: float, generator: torch.Generator
    ) -> tuple[Loss, State | None]:
        """With a state that is carried: truncated backpropagation through time, BPTT(k2; k1) of Williams and Peng (1990).

        k1 is `context`, k2 `reach`.  If k2 > k1 the last k2 - k1 symbols before the batch are read again, from the state before
        them, so that gradients reach them; if k2 < k1 the state is detached every k2 symbols.
        """
        if not self.carries:
            return self.loss(model, batch, smoothing, gold, generator), None
        state, again = self.begin(model, len(batch.tokens)) if carried is None else carried
        tokens = torch.cat([again, batch.tokens], 1)
        targets = torch.cat([torch.full_like(again, PAD), batch.targets], 1)
        turn = max(0, tokens.shape[1] - max(0, self.reach - self.context))
        first, state = self._loss(model, Excerpt(tokens[:, :turn], targets[:, :turn]), state, smoothing)
        second, _ = self._loss(model, Excerpt(tokens[:, turn:], targets[:, turn:]), state, smoothing)
        return first.plus(second), (state, tokens[:, turn:])

    def _loss(self, model: nn.Module, batch: Excerpt, state: State, smoothing: float) -> tuple[Loss, State]:
        """The loss, and the state after it; no gradient passes between pieces of `reach` symbols."""
        rows, length = batch.tokens.shape
        memory, _ = model.decoder.start(None, rows)
        zero = torch.zeros((), device=batch.tokens.device)
        total, step = Loss(zero, zero.long(), zero), self.reach if self.reach < self.context else max(length, 1)
        for left in range(0, length, step):
            read, wanted = (side[:, left : left + step] for side in batch)
            loss, state = model.decoder.loss(read, wanted, detach(state) if left else state, memory, smoothing)
            total = total.plus(loss)
        return total, state

    def validate(self, model: nn.Module, examples: Examples, raw: Sequence[str], search: Search, tokens_per_batch: int, few: int) -> tuple[float, list[Score]]:
        """On the whole text, always."""
        found = self._measure(model, raw)
        return found.nats / max(found.tokens, 1), self._scores(found)

    def evaluate(self, model: nn.Module, raw: Sequence[str], search: Search) -> list[Score]:
        """Perplexity per token, bits per character and per word, of the whole text in its order: every symbol is predicted once.

        A state that is carried is carried from the first symbol to the last, in one row; without, every window of `context`
        symbols is read on its own.
        """
        return self._scores(self._measure(model, raw))

    def _scores(self, found: "_Measure") -> list[Score]:
        units = (found.tokens, found.characters, found.words)
        scores = [metric.score([found.nats, float(count)]) for metric, count in zip(self.metrics, units, strict=True)]
        unknown = f"|unknown:{found.unknown}" if found.unknown else ""
        return [score._replace(signature=score.signature + unknown) for score in scores]

    @torch.no_grad()
    def _measure(self, model: nn.Module, raw: Sequence[str]) -> "_Measure":
        """Read the whole text once."""
        device = next(model.parameters()).device
        lines = self._lines(raw, None)
        total, count = torch.zeros((), dtype=torch.float64), 0
        model.eval()
        state: State | None = None
        for excerpt in self._readings(lines):
            read, wanted = to(excerpt, device)
            memory, start = model.decoder.start(None, len(read))
            loss, after = model.decoder.loss(read, wanted, start if state is None else state, memory)
            state = after if self.carries else None
            total, count = total + loss.nll.double().cpu(), count + int(loss.count)
        words = sum(len(line.split()) for line in raw) + len(raw)
        return _Measure(float(total), count, characters_of(raw), words, int((lines.flat == UNK).sum()))

    def _readings(self, lines: Ids) -> Iterator[Excerpt]:
        """The whole text, once: documents, windows, or one row."""
        if self.documents:
            texts = Texts(lines)
            for rows in texts.plan(_PIECE, 0, 0):
                ids = texts.batch(rows.tolist()).ids
                yield Excerpt(ids[:, :-1], ids[:, 1:])
            return
        stream, width = Stream(lines, 1, True), _PIECE if self.carries else self.context
        together = width if self.carries else max(width, _PIECE // width * width)
        for left in range(0, len(stream), together):
            yield stream.excerpt(np.arange(left, min(left + together, len(stream)), width), width)

    def predict(self, model: nn.Module, texts: Sequence[str], search: Search, prefixes: Sequence[str] | None = None) -> list[list[Prediction]]:
        """One continuation of each text, drawn with the defaults of `Sampling`; `prefixes` are how they must begin."""
        return [[self._continuation(model, text, prefix)] for text, prefix in zip(texts, prefixes or [""] * len(texts), strict=True)]

    def _continuation(self, model: nn.Module, prompt: str, prefix: str) -> Prediction:
        said = prefix + "".join(self.stream(model, prompt + prefix, Sampling()))
        symbols = self.explain(model, said, prompt, 1)
        score = sum(symbol.logprob for symbol in symbols)
        return Prediction(said, score, score, [symbol.piece.id for symbol in symbols], self.documents)

    def stream(self, model: nn.Module, prompt: str, sampling: Sampling, stops: Sequence[str] = ()) -> Iterator[str]:
        """Go on with `prompt`, piece by piece as it is said, up to a stop string (left out), the end of a document, or `sampling.longest` symbols.

        `UsageError` C027 if the model knows no symbol of the prompt.
        """
        return self._speaker(model).stream(prompt, sampling, stops)

    def several(self, model: nn.Module, prompt: str, sampling: Sampling, samples: int, stops: Sequence[str] = ()) -> list[str]:
        """So many continuations of one prompt, which is read once: see `stream`."""
        return self._speaker(model).several(prompt, sampling, samples, stops)

    def explain(self, model: nn.Module, text: str, prompt: str = "", alternatives: int = 5) -> list[Symbol]:
        """How likely each symbol of `text` was after `prompt` and the symbols before it."""
        return self._speaker(model).explain(text, prompt, alternatives)

    def unknown(self, text: str) -> list[str]:
        """The parts of a text that the model never learned."""
        return list(dict.fromkeys(piece.text for line in text.split("\n") for piece in self.tokenizer.pieces(line) if piece.id == UNK))

    def _speaker(self, model: nn.Module) -> Speaker:
        return Speaker(model.eval().decoder, self.tokenizer, self.documents, None if self.documents or self.carries else self.context)

    @torch.no_grad()
    def look(self, model: nn.Module, text: str, answer: Prediction) -> Look:
        """Where the model looked back for each symbol of `text` and its continuation, of the last that are read at once.

        The column of the symbol before them stands last.
        """
        whole, speaker = text + answer.text, self._speaker(model)
        last = speaker.pieces(whole)[-(speaker.window or LOOKED_AT) :]
        whole = whole[last[0].start :] if last else whole
        pieces = speaker.pieces(whole)
        with watching(model) as seen:
            speaker.explain(whole, "", 1)
        weights = {name: np.roll(heads_of(calls), -1, -1) for name, calls in seen.items() if calls}
        return Look(whole, whole, pieces[:-1], pieces[:-1], weights, answer.score)

    def state(self) -> dict[str, Tensor]:
        """The tokenizer."""
        return {"tokenizer.text": bytes_of(self.tokenizer.state())}

    def restore(self, state: dict[str, Tensor]) -> None:
        """The tokenizer; `ModelError` M011 if it is damaged."""
        self.tokenizer.restore(state["tokenizer.text"].numpy().tobytes())

    def summary(self) -> list[tuple[str, str]]:
        """The size of the vocabulary, and how the text is read."""
        if self.documents:
            how = "every line is a text of its own"
        else:
            how = f"in rows of {self.context} symbols, the state carried on" if self.carries else f"in windows of {self.context} symbols"
        vectors = [("Vectors", str(found)) for found in self._coverage]
        return [("Tokens", f"{self.tokenizer.size:,} symbols{self._learned}"), *vectors, ("Text", f"read {how}" if not self.documents else how)]


class _Measure(NamedTuple):
    """What a text costs, and how long it is: a line's end is a token, a character and a word."""

    nats: float
    tokens: int
    characters: int
    words: int
    unknown: int
