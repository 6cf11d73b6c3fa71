"""Stop strings: a text that comes in pieces ends before the first of them, and no part of one is ever given out."""

from collections.abc import Iterable, Iterator, Sequence

from ..errors import UsageError


class Until:
    """What of a text may be given out while it grows: `until(piece)`; what could become a stop string is held back, at the end `rest()` is what is left.

    The text ends where the first stop string is complete (of two that are complete at once, before the longer one), however it was cut into pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        if "" in stops:
            raise UsageError("C012", "an empty stop string would stop everything", fix="leave it out, or say what to stop at")
        self.stops, self.held, self.stopped = stops, "", False

    def __call__(self, piece: str) -> str:
        """What may be given out now; nothing once `stopped`."""
        if self.stopped:
            return ""
        self.held += piece
        found = [(place + len(stop), place) for stop in self.stops if (place := self.held.find(stop)) >= 0]
        if found:
            self.stopped = True
            safe, self.held = self.held[: min(found)[1]], ""
            return safe
        longest = max((size for stop in self.stops for size in range(1, len(stop)) if self.held.endswith(stop[:size])), default=0)
        split = len(self.held) - longest
        safe, self.held = self.held[:split], self.held[split:]
        return safe

    def rest(self) -> str:
        """The text is over: what was held back was no stop string after all."""
        held, self.held = self.held, ""
        return held


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The text in `pieces` up to the first of `stops`, as soon as it may be given out; nothing more is taken from `pieces` after that."""
    growing = Until(stops)
    for piece in pieces:
        if safe := growing(piece):
            yield safe
        if growing.stopped:
            return
    if rest := growing.rest():
        yield rest
