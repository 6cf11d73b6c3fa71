"""Text from a language model, and what it thinks of text."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..decoders import Decoder
from ..errors import UsageError, printable
from ..search import Sampling, Step, sample, until
from ..search.constraints import forbid
from ..text.tokenizers import Tokenizer
from ..types import BOS, EOS, PAD, UNK, Piece, State, Symbol
from ._windowed import Windowed

_PIECE = 1024  # symbols that are read at once


class Speaker:
    """A decoder with its tokenizer.  A text begins with BOS if it is a document, else behind a line's end; a decoder that learned
    from windows of so many symbols reads as `Windowed` does."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, documents: bool, window: int | None) -> None:
        self.windowed = Windowed(decoder, window, window // 2) if window else None
        self.counts = decoder.learns == "counts"
        self.decoder, self.tokenizer, self.documents, self.window = self.windowed or decoder, tokenizer, documents, window
        self.device = next(decoder.parameters()).device

    def ids(self, text: str) -> list[int]:
        """What a text begins with, and its symbols; a line break is EOS."""
        first, *others = (self.tokenizer.encode(line) for line in text.split("\n"))
        return [BOS if self.documents else EOS, *first, *(i for line in others for i in (EOS, *line))]

    def pieces(self, text: str) -> list[Piece]:
        """The symbols of a text with the characters they stand for, a line break among them."""
        found: list[Piece] = []
        start = 0
        for number, line in enumerate(text.split("\n")):
            if number:
                found.append(Piece(EOS, "\n", start - 1, start))
            found += [piece._replace(start=piece.start + start, end=piece.end + start) for piece in self.tokenizer.pieces(line)]
            start += len(line) + 1
        return found

    def stream(self, prompt: str, sampling: Sampling, stops: Sequence[str]) -> Iterator[str]:
        """See `LanguageModel.stream`."""
        return until(self.spoken((int(step.symbols[0]) for step in self._steps(prompt, sampling, 1)), prompt), stops)

    def several(self, prompt: str, sampling: Sampling, samples: int, stops: Sequence[str]) -> list[str]:
        """See `LanguageModel.several`."""
        steps = [step.symbols for step in self._steps(prompt, sampling, samples)]
        return ["".join(until(self.spoken(row, prompt), stops)) for row in torch.stack(steps, 1).tolist()]

    def _steps(self, prompt: str, sampling: Sampling, samples: int) -> Iterator[Step]:
        read = self.ids(prompt)
        if UNK in read and all(i in (BOS, EOS, UNK) for i in read):
            raise UsageError("C027", f"the model knows nothing of the prompt {printable(prompt)!r}", fix="a prompt in the language of its training text")
        if self.windowed:
            read = read[self.windowed.begins(len(read)) :]
        asked, eos = torch.tensor([read], device=self.device), EOS if self.documents else None
        return sample(self.decoder, None, asked, sampling, samples=samples, constraints=[forbid([PAD, BOS, UNK])], eos=eos)

    def spoken(self, symbols: Iterable[int], prompt: str = "") -> Iterator[str]:
        """What each symbol adds to the prompt (a space before a word, say); a character that is not complete yet waits for its rest."""
        line = list(self.tokenizer.encode(prompt.rpartition("\n")[2]))
        said = self.tokenizer.decode(line)
        for symbol in symbols:
            if symbol != EOS:
                line.append(symbol)
                now = self.tokenizer.decode(line)
                if not now.endswith("\ufffd"):
                    yield now[len(said) :]
                    said = now
            elif not self.documents:
                yield self.tokenizer.decode(line)[len(said) :] + "\n"
                line, said = [], ""

    @torch.no_grad()
    def explain(self, text: str, prompt: str, alternatives: int) -> list[Symbol]:
        """See `LanguageModel.explain`: with a prompt as it is drawn; without, as it is tested, every window on its own."""
        ids, pieces = self.ids(prompt + text), self.pieces(prompt + text)
        given, found = sum(piece.end <= len(prompt) for piece in pieces), list[Symbol]()
        decoder = self.decoder if prompt or not self.windowed else Windowed(self.windowed.decoder, self.windowed.window, 0)
        memory, state = decoder.start(None, 1)
        for left in range(0, len(pieces), _PIECE):
            told = pieces[left : left + _PIECE]
            read = torch.tensor([ids[left : left + len(told)]], device=self.device)
            orders = self._orders(decoder, read, told, state)
            logits, state = decoder(read, state, memory)
            found += self._symbols(told, logits[0].float().log_softmax(-1), alternatives, orders)
        return found[given:]

    def _orders(self, decoder: Decoder, read: Int[Tensor, "1 T"], told: Sequence[Piece], state: State) -> list[int | None]:
        """Of a decoder that counts: the order that answered for each symbol."""
        wanted = torch.tensor([[piece.id for piece in told]], device=read.device)
        return decoder.orders(read, wanted, state, None)[0][0].tolist() if self.counts else [None] * len(told)

    def _symbols(self, pieces: Sequence[Piece], scores: Float[Tensor, "T V"], alternatives: int, orders: Sequence[int | None]) -> list[Symbol]:
        own = scores.gather(1, torch.tensor([[piece.id] for piece in pieces], device=scores.device))
        ranks, entropies = (scores > own).sum(1) + 1, -(scores.exp() * scores.clamp_min(-1e9)).sum(1)
        best = scores.topk(min(alternatives, scores.shape[1]))
        rows = zip(pieces, own[:, 0].tolist(), ranks.tolist(), entropies.tolist(), best.indices.tolist(), best.values.tolist(), orders, strict=True)
        return [
            Symbol(piece, logprob, rank, entropy, [(self._written[i], score) for i, score in zip(ids, likeliest, strict=True)], order)
            for piece, logprob, rank, entropy, ids, likeliest, order in rows
        ]

    @cached_property
    def _written(self) -> list[str]:
        return ["\n" if i == EOS else symbol for i, symbol in enumerate(self.tokenizer.symbols())]
