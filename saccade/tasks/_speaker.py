"""Text from a language model, and what it thinks of text."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..decoders import Decoder
from ..errors import UsageError, printable
from ..search.constraints import forbid
from ..search.sample import Sampling, sample
from ..search.stops import until
from ..text.tokenizers import Tokenizer
from ..types import BOS, EOS, PAD, UNK, Piece, Symbol

_PIECE = 1024  # symbols that are read at once


class Speaker:
    """A decoder with its tokenizer.  A text begins with BOS if it is a document, else behind a line's end; one that is read in
    windows is read anew every `window` symbols."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, documents: bool, window: int | None) -> None:
        self.decoder, self.tokenizer, self.documents, self.window = decoder, tokenizer, documents, window
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
        read = self.ids(prompt)
        if UNK in read and all(i in (BOS, EOS, UNK) for i in read):
            raise UsageError("C027", f"the model knows nothing of the prompt {printable(prompt)!r}", fix="a prompt in the language of its training text")
        if self.window:
            read = read[-max(1, self.window - sampling.longest) :]
        steps = sample(
            self.decoder,
            None,
            torch.tensor([read], device=self.device),
            sampling,
            constraints=[forbid([PAD, BOS, UNK])],
            eos=EOS if self.documents else None,
        )
        return until(self._spoken(int(step.symbols[0]) for step in steps), stops)

    def _spoken(self, symbols: Iterable[int]) -> Iterator[str]:
        """What each symbol adds to the text; a character that is not complete yet waits for its rest."""
        line: list[int] = []
        said = ""
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
        """See `LanguageModel.explain`."""
        ids, pieces = self.ids(prompt + text), self.pieces(prompt + text)
        given = sum(piece.end <= len(prompt) for piece in pieces)
        memory, start = self.decoder.start(None, 1)
        state, found = start, []
        for read in torch.tensor([ids[:-1]], device=self.device).split(self.window or _PIECE, 1):
            logits, after = self.decoder(read, state, memory)
            state = start if self.window else after
            found.append(logits[0].float().log_softmax(-1))
        scores = torch.cat(found) if found else torch.zeros(0, 1)
        return [self._symbol(piece, row, alternatives) for piece, row in zip(pieces[given:], scores[given:], strict=True)]

    def _symbol(self, piece: Piece, scores: Float[Tensor, "V"], alternatives: int) -> Symbol:
        own = scores[piece.id]
        best = scores.topk(min(alternatives, len(scores)))
        others = [(self._text(int(i)), float(score)) for score, i in zip(*best, strict=True)]
        entropy = -(scores.exp() * scores.clamp_min(-1e9)).sum()
        return Symbol(piece, float(own), int((scores > own).sum()) + 1, float(entropy), others)

    def _text(self, symbol: int) -> str:
        return "\n" if symbol == EOS else {PAD: "<pad>", BOS: "<bos>"}.get(symbol) or self.tokenizer.decode([symbol])
