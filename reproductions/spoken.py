"""Samples of speech, one after the other: what dilation buys, and what the queue of each layer saves (van den Oord et al. 2016, WaveNet).

    OMP_NUM_THREADS=1 python -m reproductions.spoken DIR --minutes 5         DIR/recordings.tar.xz; twice the minutes and some

The free spoken digits: 2,500 recordings of five speakers at 8 kHz; of every speaker and digit the first five are the test, as its authors
split them.  A sample is one of 256 levels under the mu law, and a recording is a text that begins with BOS.  Two WaveNets of equal size learn from the
same samples in the same order: in one the spacing doubles from layer to layer (it hears 2,047 samples, a quarter of a second), in the other it stays 1
(21 samples).

The claims to be tested, set before the first run: at least 0.5 bit a sample better than a Markov chain of order 1; at least 0.15 bit better
than without dilation; generating with the layers' queues at least 20 times as fast as reading the receptive field anew for each sample, with
the same log-probabilities to within 1e-5.
"""

import argparse
import io
import math
import tarfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from saccade.decoders import Decoder
from saccade.families import choose
from saccade.training.optimizers import build_optimizer, set_rates
from saccade.training.schedules.one_cycle import OneCycle
from saccade.training.settings import Training
from saccade.types import BOS, UNK, detach, pad

LEVELS, FIRST = 256, UNK + 1
"""A sample of level n has the id FIRST + n."""
WAVENET = {"name": "convolutional", "gate": "tanh", "dim": 48, "layers": 20, "kernel": 2, "skip": 128, "tied": False, "dropout": 0.0}
DILATED, UNDILATED = {**WAVENET, "dilation": "doubling", "cycle": 10}, WAVENET
ROWS, CUT = 8, 500
"""An update: so many recordings of about the same length, so many samples of each."""
RATE = 3e-3
CLOCK = time.process_time
"""The processor's own time, which a busy machine does not stretch: run it on one thread."""
BETTER_THAN_MARKOV, BETTER_THAN_UNDILATED, FASTER, EQUAL = 0.5, 0.15, 20.0, 1e-5
SMOOTHING = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Recordings(NamedTuple):
    """Levels of each recording; `tuning` is a part of `train`."""

    train: list[np.ndarray]
    tuning: list[np.ndarray]
    test: list[np.ndarray]


def compress(samples: np.ndarray) -> np.ndarray:
    """16-bit samples to levels 0 ... 255: sign(x) ln(1 + 255 |x|) / ln 256, rounded (section 2.2)."""
    x = samples / 32768
    bent = np.sign(x) * np.log1p((LEVELS - 1) * np.abs(x)) / math.log(LEVELS)
    return np.floor((bent + 1) / 2 * (LEVELS - 1) + 0.5).astype(np.int64)


def expand(levels: np.ndarray) -> np.ndarray:
    """Levels back to 16-bit samples, as near as 256 levels allow."""
    bent = 2 * levels / (LEVELS - 1) - 1
    x = np.sign(bent) * np.expm1(np.abs(bent) * math.log(LEVELS)) / (LEVELS - 1)
    return np.clip(np.round(x * 32768), -32768, 32767).astype(np.int16)


def read(archive: Path) -> Recordings:
    """Of every speaker and digit, recordings 0 to 4 are the test; of the others, 5 to 9 tune the baseline."""
    found = Recordings([], [], [])
    with tarfile.open(archive) as file:
        for member in sorted(file, key=lambda each: each.name):
            if not member.name.endswith(".wav"):
                continue
            with wave.open(io.BytesIO(file.extractfile(member).read())) as sound:  # type: ignore[union-attr]
                assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (8000, 1, 2), member.name
                levels = compress(np.frombuffer(sound.readframes(sound.getnframes()), "<i2"))
            index = int(member.name.removesuffix(".wav").rsplit("_", 1)[1])
            (found.test if index < 5 else found.train).append(levels)
            if 5 <= index < 10:
                found.tuning.append(levels)
    return found


def pairs_of(recordings: Sequence[np.ndarray]) -> np.ndarray:
    """How often each level follows each; row 256 stands for the beginning."""
    counts = np.zeros((LEVELS + 1, LEVELS), np.int64)
    for levels in recordings:
        np.add.at(counts, (np.concatenate([[LEVELS], levels[:-1]]), levels), 1)
    return counts


def markov_bits(seen: np.ndarray, heard: np.ndarray, smoothing: float) -> float:
    """Bits a sample of the pairs `heard` under the pairs `seen`, `smoothing` added to each count."""
    chances = (seen + smoothing) / (seen + smoothing).sum(1, keepdims=True)
    return float(-(heard * np.log2(chances)).sum() / heard.sum())


def markov(recordings: Recordings) -> tuple[float, float]:
    """(bits a sample of the test, smoothing): the smoothing that is best for the tuning part when the rest of the training part is counted."""
    train, tuning = pairs_of(recordings.train), pairs_of(recordings.tuning)
    best = min(SMOOTHING, key=lambda each: markov_bits(train - tuning, tuning, each))
    return markov_bits(train, pairs_of(recordings.test), best), best


class Cut(NamedTuple):
    """What is read and what should be said next; `first`: here new recordings begin."""

    tokens: Tensor
    targets: Tensor
    first: bool


def cuts(recordings: Sequence[np.ndarray], rows: int) -> Iterator[Cut]:
    """Groups of `rows` recordings in the order given, padded to their longest, and cut."""
    for start in range(0, len(recordings), rows):
        ids = pad([[BOS, *(levels + FIRST).tolist()] for levels in recordings[start : start + rows]]).ids
        for place in range(0, ids.shape[1] - 1, CUT):
            piece = ids[:, place : place + CUT + 1]
            yield Cut(piece[:, :-1], piece[:, 1:], place == 0)


def endless(recordings: Sequence[np.ndarray], seed: int) -> Iterator[Cut]:
    """Epoch after epoch, in groups of like length, both in an order that only `seed` decides."""
    draw = np.random.default_rng(seed)
    while True:
        order = sorted(draw.permutation(len(recordings)), key=lambda each: len(recordings[each]) // 100)
        groups = [order[start : start + ROWS] for start in range(0, len(order), ROWS)]
        for group in draw.permutation(len(groups)):
            yield from cuts([recordings[each] for each in groups[group]], ROWS)


def build(chosen: dict[str, Any], seed: int) -> Decoder:
    """A language model over levels."""
    torch.manual_seed(seed)
    return choose(Decoder, **chosen)(FIRST + LEVELS, None)


def learn(model: Decoder, recordings: Sequence[np.ndarray], updates: int, seed: int, say: Callable[[str], None]) -> float:
    """`updates` updates; seconds."""
    dials = Training(learning_rate=RATE, steps=updates)
    optimizer, schedule = build_optimizer(dials, model.train()), OneCycle(RATE, updates)
    begun, bits, count = CLOCK(), 0.0, 0
    state: Any = None
    for step, cut in zip(range(updates), endless(recordings, seed)):
        memory, fresh = model.start(None, len(cut.tokens))
        loss, state = model.loss(cut.tokens, cut.targets, fresh if cut.first else detach(state), memory)
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), dials.clip)
        set_rates(optimizer, schedule.rate(step))
        optimizer.step()
        bits, count = bits + float(loss.nll) / math.log(2), count + int(loss.count)
        if (step + 1) % (updates // 10 or 1) == 0:
            say(f"  update {step + 1:,} of {updates:,}: {bits / count:.3f} bits, {CLOCK() - begun:.0f} s")
            bits = count = 0
    return CLOCK() - begun


@torch.inference_mode()
def bits_per_sample(model: Decoder, recordings: Sequence[np.ndarray]) -> float:
    """Every sample of every recording predicted from all that came before it: the queues are carried from cut to cut."""
    model.eval()
    bits, count = 0.0, 0
    state: Any = None
    for cut in cuts(sorted(recordings, key=len), 8):
        memory, fresh = model.start(None, len(cut.tokens))
        loss, state = model.loss(cut.tokens, cut.targets, fresh if cut.first else state, memory)
        bits, count = bits + float(loss.nll) / math.log(2), count + int(loss.count)
    assert count == sum(map(len, recordings))
    return bits / count


class Generation(NamedTuple):
    """Samples a second of both ways, all streams counted, and by how much their log-probabilities differ at most."""

    cached: float
    naive: float
    difference: float

    @property
    def times(self) -> float:
        """How much faster the queues are."""
        return self.cached / self.naive


@torch.inference_mode()
def generation(model: Decoder, samples: int, seed: int, streams: int = 1) -> Generation:
    """Draw `samples` samples of each stream with the queues, then say the last of them again, reading the whole receptive field for each."""

    def draw(logits: Tensor) -> Tensor:
        return FIRST + logits[:, -1, FIRST:].softmax(-1).multinomial(1)

    model.eval()
    torch.manual_seed(seed)
    heard, said = [torch.full((streams, 1), BOS)], []
    memory, state = model.start(None, streams)
    begun = CLOCK()
    for _ in range(samples):
        logits, state = model(heard[-1], state, memory)
        said.append(logits[:, -1])
        heard.append(draw(logits))
    cached = streams * samples / (CLOCK() - begun)
    field, ids, again = model.receptive_field, torch.cat(heard, 1), 50 if streams == 1 else 5
    assert samples - again >= field, "every window must be a whole one"
    begun, anew = CLOCK(), []
    for place in range(samples - again, samples):
        logits, _ = model(ids[:, place + 1 - field : place + 1], model.start(None, streams)[1], memory)
        anew.append(logits[:, -1])
        draw(logits)
    naive = streams * again / (CLOCK() - begun)
    one, other = (torch.stack(each).log_softmax(-1) for each in (anew, said[samples - again :]))
    return Generation(cached, naive, float((one - other).abs().max()))


def updates_in(minutes: float, recordings: Sequence[np.ndarray], say: Callable[[str], None]) -> int:
    """How many updates of the dilated model the machine makes in so many minutes, from a short trial."""
    seconds = learn(build(DILATED, 0), recordings, 20, 0, lambda _: None)
    updates = max(round(minutes * 60 * 20 / seconds), 1)
    say(f"{seconds / 20 * 1000:.0f} ms an update: {updates:,} updates")
    return updates


def verdict(holds: bool) -> str:
    return "holds" if holds else "FAILS"


def main() -> None:
    """Everything, one line a finding."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--minutes", type=float, default=5.0, help="of the processor, to train each of the two models")
    options.add_argument("--updates", type=int, help="exactly so many, instead of minutes")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()

    def say(line: str) -> None:
        print(line, flush=True)

    recordings = read(given.folder / "recordings.tar.xz")
    say(f"{len(recordings.train):,} recordings to learn from, {len(recordings.test)} to test on, {sum(map(len, recordings.test)):,} samples of them")
    chain, smoothing = markov(recordings)
    say(f"Markov chain of order 1: {chain:.3f} bits a sample (smoothing {smoothing})")
    updates = given.updates or updates_in(given.minutes, recordings.train, say)
    bits = {}
    for name, chosen in (("undilated", UNDILATED), ("dilated", DILATED)):
        model = build(chosen, given.seed)
        say(f"{name}: {sum(weight.numel() for weight in model.parameters()):,} weights, hears {model.receptive_field} samples")
        seconds = learn(model, recordings.train, updates, given.seed, say)
        bits[name] = bits_per_sample(model, recordings.test)
        say(f"{name}: {bits[name]:.3f} bits a sample of the test, trained in {seconds / 60:.1f} minutes")
    gain, more = chain - bits["dilated"], bits["undilated"] - bits["dilated"]
    say(f"better than the Markov chain by {gain:.3f} bits (claim {BETTER_THAN_MARKOV}): {verdict(gain >= BETTER_THAN_MARKOV)}")
    say(f"better than without dilation by {more:.3f} bits (claim {BETTER_THAN_UNDILATED}): {verdict(more >= BETTER_THAN_UNDILATED)}")
    say(f"generation, samples a second, with queues and reading {model.receptive_field:,} samples anew for each (claims: {FASTER:g} times, {EQUAL:g})")
    for precision in (torch.float32, torch.float64):
        for streams in (1, 32):
            found = generation(model.to(precision), model.receptive_field + 500, given.seed, streams)
            rates = f"{found.cached:8,.0f} {found.naive:6,.1f}   {found.times:5.1f} times: {verdict(found.times >= FASTER)}"
            name = f"{str(precision)[6:]}, {streams} at once"
            say(f"  {name:<20} {rates}   log-probabilities differ by {found.difference:.1e}: {verdict(found.difference <= EQUAL)}")


if __name__ == "__main__":
    main()
