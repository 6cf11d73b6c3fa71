"""Plant bugs, one after the other, and see that the tests catch every one.

    python -m tests.mutants                 all of them, a few minutes
    python -m tests.mutants beam-state      one

Each mutant replaces one piece of text in a copy of the package and runs the tests named with it; a mutant that survives is a hole
in the laws.  `tests/test_mutants.py` keeps the list true: every text must stand in its file exactly once.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DECODING, ATTENTION, LAYERS, ENCODERS, SEARCH, FORCING = (
    f"tests/laws/test_{name}.py" for name in ("decoding", "attention", "layers", "encoders", "search", "forcing")
)
STEPWISE, LINEARS, PATTERNS, CELLS = (f"tests/laws/test_{name}.py" for name in ("stepwise", "linears", "patterns", "cells"))
CONVOLUTION = ("tests/unit/test_convolution.py", "tests/parity/test_convolution.py")
STREAMS, LANGUAGE_MODEL = "tests/unit/test_streams.py", "tests/unit/test_language_model.py"
WINDOWED = "tests/unit/test_windowed.py"
LANGUAGE_MODELS = "tests/end_to_end/test_language_models.py"
TRAINING, PARITY, BATCHES = "tests/unit/test_training.py", "tests/parity/test_torch_nn.py", "tests/unit/test_batches.py"
SAMPLING, FILTERS, STOPS = "tests/laws/test_sampling.py", "tests/unit/test_filters.py", "tests/unit/test_stops.py"
SURVIVAL, NGRAM = "tests/unit/test_survival.py", "tests/unit/test_ngram.py"
WORDS, VECTORS = "tests/unit/test_word_vectors.py", "tests/unit/test_vectors.py"
GROWING, SPAN, DISTANCES, GPT = (f"tests/laws/test_{name}.py" for name in ("growing", "span", "distances", "gpt"))


class Mutant(NamedTuple):
    """A bug: in `file`, `old` becomes `new`; one of `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = [
    Mutant("mask-polarity", "attention/softmax.py", "None if mask is None else ~mask", "mask", (ATTENTION,)),
    Mutant("blind-query", "attention/softmax.py", "weights[..., :columns].masked_fill_(hidden, 0.0)", "pass", (ATTENTION,)),
    Mutant("minus-infinity", "attention/softmax.py", "torch.finfo(scores.dtype).min", "float('-inf')", (ATTENTION,)),
    Mutant("room-is-seen", "attention/softmax.py", 'float("-inf")', "0.0", (ATTENTION,)),
    Mutant("missing-root", "attention/scores/scaled_dot.py", "return dim**-0.5", "return 1.0 / dim", (PARITY,)),
    Mutant("dot-is-scaled", "attention/scores/dot.py", "return query @ prepared.mT", "return query @ prepared.mT * 0.5", (ATTENTION, PARITY)),
    Mutant("additive-without-tanh", "attention/scores/additive.py", "pairs.tanh_()", "pairs", (ATTENTION, PARITY)),
    Mutant(
        "fused-unmasked",
        "attention/attention.py",
        "bias if allowed is None else allowed, dropout_p",
        "bias, dropout_p",
        (ATTENTION,),
    ),
    Mutant(
        "heads-mixed",
        "attention/attention.py",
        "x.view(*x.shape[:-1], self.heads, x.shape[-1] // self.heads).transpose(1, 2)",
        "x.view(*x.shape[:-1], x.shape[-1] // self.heads, self.heads).permute(0, 3, 1, 2)",
        (PARITY,),
    ),
    Mutant("stepwise-unmasked", "attention/stepwise.py", "torch.baddbmm(shown.floor, query, shown.keys.mT)", "query @ shown.keys.mT", (STEPWISE,)),
    Mutant("stepwise-unscaled", "attention/stepwise.py", "_Shown(keys * factor, values, floor)", "_Shown(keys, values, floor)", (STEPWISE,)),
    Mutant("stepwise-slope-unscaled", "attention/stepwise.py", "* ctx.factor", "", (STEPWISE,)),
    Mutant("stepwise-room-is-seen", "attention/stepwise.py", 'value=float("-inf")', "value=0.0", (STEPWISE,)),
    Mutant("stepwise-blind-finds", "attention/stepwise.py", "values = values * mask.any(-1, keepdim=True)", "pass", (STEPWISE,)),
    Mutant("stepwise-blind-learns", "attention/stepwise.py", "to_values if ctx.mask is None else to_values * ctx.mask.mT", "to_values", (STEPWISE,)),
    Mutant("stepwise-swapped", "attention/stepwise.py", "weights.mT @ slope_of_context", "slope_of_scores.mT @ slope_of_context", (STEPWISE,)),
    Mutant("stepwise-twice", "attention/stepwise.py", "ctx.steps.clear()", "pass", (STEPWISE,)),
    Mutant("stepwise-though-watched", "attention/stepwise.py", "or attention.watched()", "", (STEPWISE,)),
    Mutant("window-off-by-one", "attention/masks.py", "(here - stride < there)", "(here - stride <= there)", (PATTERNS,)),
    Mutant("column-sees-itself", "attention/patterns/strided.py", ".tril(-1)", ".tril()", (PATTERNS,)),
    Mutant("row-before-the-first", "attention/patterns/strided.py", "near[0, :, : self.stride] = False", "pass", (PATTERNS,)),
    Mutant("own-summary-twice", "attention/patterns/fixed.py", ".tril(-1)", ".tril()", (PATTERNS,)),
    Mutant("summary-in-front", "attention/patterns/fixed.py", "x[..., -self.summary :, :]", "x[..., : self.summary, :]", (PATTERNS,)),
    Mutant("pattern-without-dropout", "attention/sparse.py", "dropout(masked_softmax(", "(masked_softmax(", (PATTERNS,)),
    Mutant("pieces-by-blocks", "attention/patterns/__init__.py", "queries == keys > self.stride", "keys > self.stride", (PATTERNS, DECODING)),
    Mutant("blocks-though-watched", "attention/attention.py", "keys.shape[2]) and not self.attention.watched()", "keys.shape[2])", (PATTERNS,)),
    Mutant("causal-off-by-one", "attention/masks.py", ".tril(keys - queries)", ".tril(keys - queries + 1)", (DECODING,)),
    Mutant(
        "position-restarts", "decoders/transformer.py", "self.position(self.embedding(tokens), start)", "self.position(self.embedding(tokens), 0)", (DECODING,)
    ),
    Mutant(
        "rotary-restarts",
        "decoders/transformer.py",
        "self.self_attention.project(y, position, start)",
        "self.self_attention.project(y, position, 0)",
        (DECODING,),
    ),
    Mutant(
        "cache-forgets",
        "decoders/transformer.py",
        "append(before.keys, keys)",
        "append(before.values, keys)",
        (DECODING,),
    ),
    Mutant(
        "source-unmasked",
        "decoders/transformer.py",
        "return Source(sources, padding(encoding.mask))",
        "return Source(sources, padding(torch.ones_like(encoding.mask)))",
        (DECODING,),
    ),
    Mutant("past-overwritten", "attention/growing.py", "int(taken.max()) == end and ", "", (GROWING,)),
    Mutant("rows-overwritten", "attention/growing.py", "int(taken.max())", "int(taken[0])", (GROWING,)),
    Mutant("buffer-overrun", "attention/growing.py", " and end + more <= front.stride(1) // front.stride(2)", "", (GROWING,)),
    Mutant("span-one-more", "attention/masks.py", "keys - queries - span + 1", "keys - queries - span", (SPAN,)),
    Mutant("span-kept-short", "decoders/transformer.py", "max(0, keys.shape[2] - self.span + 1)", "max(0, keys.shape[2] - self.span + 2)", (SPAN,)),
    Mutant("block-sees-too-little", "decoders/transformer.py", "max(0, known + first - self.span + 1)", "max(0, known + first - self.span + 2)", (SPAN,)),
    Mutant("place-stands-still", "decoders/transformer.py", "place + length", "place", (SPAN,)),
    Mutant("shift-by-one", "layers/positions/relative.py", "[..., asking - 1 : -1]", "[..., asking:]", (DISTANCES,)),
    Mutant("distance-turned-round", "layers/positions/relative.py", ".flip(0)", "", (DISTANCES,)),
    Mutant("key-bias-forgotten", "layers/positions/relative.py", "return query + self.asks_what,", "return query,", (DISTANCES,)),
    Mutant("slope-of-one-head", "layers/positions/alibi.py", "2.0 ** (-8 * i / power)", "2.0 ** (-8 / power)", (DISTANCES,)),
    Mutant("gelu-exact", "layers/feedforward.py", '"tanh" if self.activation == "gelu_tanh" else "none"', '"none"', (GPT,)),
    Mutant("all-matrices-smaller", "layers/initialisation.py", "if weight in scaled else 1.0", "if weight.ndim else 1.0", (GPT,)),
    Mutant("post-norm-first", "layers/feedforward.py", 'norm == "pre"', 'norm == "post"', (PARITY,)),
    Mutant(
        "norm-outside", "layers/feedforward.py", "return self.norm(self.dropout.add(x, layer(x)))", "return x + self.norm(self.dropout(layer(x)))", (PARITY,)
    ),
    Mutant("quaternion-signs", "layers/linears/quaternion.py", "(2, 1, -4, 3)", "(2, 1, 4, -3)", (LINEARS,)),
    Mutant("quaternion-few-rows", "layers/linears/quaternion.py", "@ self.signs.mT", "@ self.signs", (LINEARS,)),
    Mutant("quaternion-maps-drawn-as-one", "layers/linears/quaternion.py", "4 * rows / self.maps", "4 * rows", (LINEARS,)),
    Mutant("quaternions-cut", "attention/attention.py", "if width % self.query.block:", "if False:", (LINEARS,)),
    Mutant("feeding-lost", "decoders/recurrent.py", "Said(cells, fed if self.feeds else state.fed)", "Said(cells, state.fed)", (DECODING,)),
    Mutant("recurrent-unmasked", "decoders/recurrent.py", "memory.keys, memory.values, memory.mask)", "memory.keys, memory.values)", (DECODING,)),
    Mutant(
        "steps-unmasked",
        "decoders/recurrent.py",
        "asked_stepwise(self.cross_attention, *memory)",
        "asked_stepwise(self.cross_attention, *memory[:2])",
        (DECODING,),
    ),
    Mutant(
        "cells-restart",
        "decoders/recurrent.py",
        "y, last = cell.sequence(self.drop(x) if number else x, before, kept)",
        "y, last = cell.sequence(self.drop(x) if number else x, cell.start(len(x)), kept)",
        (DECODING,),
    ),
    Mutant("lstm-parts-swapped", "layers/cells/lstm.py", "torch.lstm_cell(x, state,", "torch.lstm_cell(x, (state[1], state[0]),", (CELLS,)),
    Mutant("padding-read-backward", "encoders/recurrent.py", "self.back.sequence(reversed_rows(x, lengths)", "self.back.sequence(x.flip(1)", (ENCODERS,)),
    Mutant("last-column", "encoders/recurrent.py", "outputs.take_along_dim((lengths - 1)[:, None, None], 1)[:, 0]", "outputs[:, -1]", (ENCODERS,)),
    Mutant("mean-over-padding", "encoders/transformer.py", "(x * kept).sum(1) / kept.sum(1)", "x.mean(1)", (ENCODERS,)),
    Mutant(
        "encoder-unmasked",
        "encoders/transformer.py",
        "x = layer(x, padding(mask), self.position)",
        "x = layer(x, padding(torch.ones_like(mask)), self.position)",
        (ENCODERS,),
    ),
    Mutant(
        "beam-state",
        "search/beam.py",
        "tokens, received, state = select((beams.tokens, beams.received, beams.state), rows)",
        "tokens, received, state = (*select((beams.tokens, beams.received), rows), beams.state)",
        (DECODING,),
    ),
    Mutant("beam-copies", "search/beam.py", "scores[:, 0] = 0.0", "scores[:] = 0.0", (DECODING,)),
    Mutant("beam-length", "search/beam.py", "lengths = beams.lengths + ~stopped", "lengths = beams.lengths + 1", (DECODING,)),
    Mutant("beam-revives", "search/beam.py", "torch.where(stopped[:, None], stay, step)", "torch.where(stopped[:, None], step, step)", (DECODING,)),
    Mutant("beam-unpenalised", "search/beam.py", "ranks = total / search.divisor(lengths)[:, None]", "ranks = total", (DECODING,)),
    Mutant("gnmt-six", "search/beam.py", "(5 + lengths) / 6", "(6 + lengths) / 6", (DECODING, SEARCH)),
    Mutant("coverage-of-ended", "search/beam.py", "latest.masked_fill(ended[:, None], 0.0)", "latest", (SEARCH,)),
    Mutant("coverage-unclamped", "search/beam.py", "received.clamp(1e-9, 1.0)", "received.clamp_min(1e-9)", (SEARCH,)),
    Mutant("repeat-off-by-one", "search/constraints.py", "tokens[:, length - size + 1 :]", "tokens[:, length - size : -1]", (SEARCH,)),
    Mutant("prefix-shifted", "search/constraints.py", "place = tokens.shape[1] - prompt", "place = tokens.shape[1] - prompt + 1", (SEARCH,)),
    Mutant("coins-shared", "search/forcing.py", "torch.rand(tokens.shape, generator=generator)", "torch.rand(tokens.shape)", (FORCING, TRAINING)),
    Mutant("select-columns", "types.py", "leaf.index_select(0, rows)", "leaf.index_select(0, rows.flip(0))", (DECODING,)),
    Mutant("padding-counted", "layers/cross_entropy.py", "real = wanted != PAD", "real = wanted >= PAD", (LAYERS,)),
    Mutant("smoothing-on-padding", "layers/cross_entropy.py", "(others * log_sum - (x.sum(-1) - x[:, PAD]))", "(x.shape[1] * log_sum - x.sum(-1))", (LAYERS,)),
    Mutant("smoothing-slope", "layers/cross_entropy.py", "torch.full_like(slope[:, :1], smoothing - 1)", "torch.full_like(slope[:, :1], -1.0)", (LAYERS,)),
    Mutant("linear-padding-counted", "layers/cross_entropy.py", "rows = (targets != PAD)", "rows = (targets >= PAD)", (LAYERS,)),
    Mutant("linear-chunk-lost", "layers/cross_entropy.py", "weight_slope.add_(grown) if len(weight_slope) else grown", "grown", (LAYERS,)),
    Mutant("linear-unsmoothed", "layers/cross_entropy.py", "slopes = slopes - share * pull", "pass", (LAYERS, DECODING)),
    Mutant(
        "linear-underflow",
        "layers/cross_entropy.py",
        "log_sum = best - chances.amax(-1).log()",
        "log_sum = true - chances.gather(1, wanted)[:, 0].log()",
        (LAYERS,),
    ),
    Mutant("linear-or-not", "decoders/__init__.py", "type(self).forward is not Decoder.forward", "False", (DECODING,)),
    Mutant("dropout-unscaled", "layers/dropout.py", "256 / (256 - dropped)", "1.0", (LAYERS,)),
    Mutant("dropout-off-by-one", "layers/dropout.py", "clamp_(first - 1, first)", "clamp_(first - 1, first + 1)", (LAYERS,)),
    Mutant("dropout-of-the-sum", "layers/dropout.py", "torch.add(x, _keep(y.to(x.dtype), kept), alpha=scale)", "_keep(x + y, kept).mul_(scale)", (LAYERS,)),
    Mutant("dropout-slope-unscaled", "layers/dropout.py", "ctx.saved_tensors[0], 0).mul_(ctx.scale)", "ctx.saved_tensors[0], 0)", (LAYERS,)),
    Mutant("dropout-always", "layers/dropout.py", "not self.training or self.rate == 0.0", "self.rate == 0.0", (LAYERS,)),
    Mutant("embedding-unscaled", "layers/embedding.py", "dim**0.5 if scale else 1.0", "1.0", (LAYERS, PARITY)),
    Mutant(
        "shift-missing",
        "tasks/translate.py",
        "batch.target.ids[:, :-1], batch.target.ids[:, 1:]",
        "batch.target.ids[:, 1:], batch.target.ids[:, 1:]",
        ("tests/laws/test_recipes.py",),
    ),
    Mutant(
        "end-not-learned",
        "tasks/translate.py",
        "[BOS, *target, EOS]",
        "[BOS, *target]",
        ("tests/laws/test_recipes.py",),
    ),
    Mutant(
        "position-not-resumed",
        "training/state.py",
        'return Progress(**{**state, "history":',
        'return Progress(**{**state, "position": 0, "history":',
        (TRAINING,),
    ),
    Mutant("randomness-not-by-step", "training/engine.py", "        torch.manual_seed(own)", "        pass", (TRAINING,)),
    Mutant("rate-not-halved", "training/loop.py", " * 0.5**self.progress.halvings", "", (SURVIVAL,)),
    Mutant("explosion-unnoticed", "training/divergence.py", "mean > EXPLODED * progress.mean", "False", (SURVIVAL,)),
    Mutant("worsening-unnoticed", "training/divergence.py", "if lost else", "if False else", (SURVIVAL,)),
    Mutant("rows-lost-in-parts", "training/engine.py", "for start in range(0, rows, size):", "for start in range(0, rows - size + 1, size):", (SURVIVAL,)),
    Mutant("average-not-judged", "training/engine.py", "            self._take(self.averages)", "            pass", (SURVIVAL,)),
    Mutant("evaluation-lost-by-stopping", "training/loop.py", "due=not state.due() and (asked", "due=(asked", (TRAINING,)),
    Mutant("lock-ignored", "training/loop.py", "with locked(run) if world.first else nullcontext(),", "with nullcontext(),", (SURVIVAL,)),
    Mutant("optimizer-lost", "training/state.py", "        if entries:", "        if entries and False:", (TRAINING,)),
    Mutant("worst-kept", "training/loop.py", "value > progress.best", "value < progress.best", (TRAINING,)),
    Mutant("bad-loss-passes", "training/loop.py", "if trouble := wrong_with(update, mean, progress):", "if trouble := None:", (SURVIVAL,)),
    Mutant("count-across-texts", "decoders/_counts.py", "here = (since >= length - 1)", "here = (places >= length - 1)", (NGRAM,)),
    Mutant("begin-continues", "decoders/_counts.py", "np.where(level.begins, level.counts, different)", "different", (NGRAM,)),
    Mutant("highest-continues", "decoders/_counts.py", "level._replace(counts=", "level._replace(counts=level.counts + 0 * ", (NGRAM,)),
    Mutant("third-discount", "decoders/_smoothing.py", "[np.minimum(seen.counts, 3)]", "[np.minimum(seen.counts, 2)]", (NGRAM,)),
    Mutant("uniform-over-all", "decoders/_smoothing.py", "1 / (vocab - 2)", "1 / vocab", (NGRAM,)),
    Mutant("katz-believes-too-early", "decoders/_smoothing.py", "[np.minimum(seen.counts, katz + 1)]", "[np.minimum(seen.counts, katz)]", (NGRAM,)),
    Mutant("seen-backs-off-too", "decoders/ngram.py", "pick(chances, found, 0.0))", "said + pick(chances, found, 0.0))", (NGRAM,)),
    Mutant("keys-unchecked", "decoders/ngram.py", "keys[-1] < below * self.vocab", "keys[-1] < 2**62", (NGRAM,)),
    Mutant("bag-has-an-order", "decoders/bag.py", "clamp_min(0)).tril()", "clamp_min(0)).tril() * (1 + places)", ("tests/unit/test_bag.py",)),
    Mutant("order-repeats", "batches/order.py", "spawn_key=(epoch, stream)", "spawn_key=(0, stream)", (BATCHES,)),
    Mutant("one-chance-for-all", "search/sample.py", "np.random.PCG64((seed, stream))", "np.random.PCG64((seed, 0))", (SAMPLING,)),
    Mutant(
        "chance-by-place-in-batch", "search/sample.py", "self.block[number, place % BLOCK, None]", "self.block[: len(number), place % BLOCK, None]", (SAMPLING,)
    ),
    Mutant("drawn-logprobs-are-cut", "search/sample.py", "known.gather(1, symbols)", "scores.log_softmax(-1).gather(1, symbols)", (SAMPLING,)),
    Mutant("draw-without-the-rest", "search/sample.py", "chance * total[:, -1:]", "chance.square() * total[:, -1:]", (SAMPLING,)),
    Mutant("samples-interleaved", "search/sample.py", "said[i * samples : (i + 1) * samples]", "said[i :: len(group)]", (SAMPLING,)),
    Mutant(
        "sample-reads-an-old-state", "search/sample.py", "rows._replace(tokens=tokens, state=state, logits", "rows._replace(tokens=tokens, logits", (SAMPLING,)
    ),
    Mutant("temperature-upside-down", "search/constraints.py", "scores / degree", "scores * degree", (SAMPLING, FILTERS)),
    Mutant(
        "nucleus-without-its-edge", "search/constraints.py", "cumsum(1, dtype=torch.float64) - held < mass", "cumsum(1, dtype=torch.float64) < mass", (FILTERS,)
    ),
    Mutant("typical-is-probable", "search/constraints.py", "(surprise - entropy).abs()", "(surprise - entropy)", (FILTERS,)),
    Mutant("equals-all-stay", "search/constraints.py", "(equal.cumsum(1) <= room)", "True", (FILTERS,)),
    Mutant("shortlist-is-enough", "search/constraints.py", "(~kept & (price < price[:, -1:])).any(1).all()", "True", (FILTERS,)),
    Mutant("shortlist-edge", "search/constraints.py", "~kept & (price < price[:, -1:])", "~kept", (FILTERS,)),
    Mutant("stop-not-held-back", "search/stops.py", "range(1, len(stop)) if", "range(2, len(stop)) if", (STOPS,)),
    Mutant("stop-late", "search/stops.py", "min(found)[1]", "max(found)[1]", (STOPS,)),
    Mutant("conv-symmetric", "layers/convolution.py", "torch.cat([context, x], 1)", "torch.cat([context, x], 1).roll(-1, 1)", CONVOLUTION),
    Mutant("conv-queue-of-the-first", "layers/convolution.py", "known[:, length:]", "known[:, : self.context]", CONVOLUTION),
    Mutant("conv-slope-undilated", "layers/convolution.py", "narrow(1, number * ctx.dilation,", "narrow(1, number,", CONVOLUTION),
    Mutant("conv-always-doubling", "decoders/convolutional.py", "2 ** (number % cycle)", "2**number", CONVOLUTION),
    Mutant("conv-gates-swapped", "decoders/convolutional.py", "a.tanh() * b.sigmoid()", "b.tanh() * a.sigmoid()", CONVOLUTION),
    Mutant(
        "conv-skip-of-the-last",
        "decoders/convolutional.py",
        "self.skip(torch.cat(found, -1))",
        "self.skip(torch.cat([found[-1]] * len(found), -1))",
        CONVOLUTION,
    ),
    Mutant("conv-field-without-itself", "decoders/convolutional.py", "1 + sum(layer.conv.context", "sum(layer.conv.context", CONVOLUTION),
    Mutant(
        "conv-answer-unmasked",
        "decoders/convolutional.py",
        "(memory.keys[number], memory.values, memory.mask)",
        "(memory.keys[number], memory.values, None)",
        CONVOLUTION,
    ),
    Mutant("words-left-out-by-the-paper", "layers/word_vectors.py", "(relative.sqrt() + 1) / relative.clamp_min(1e-30)", "relative.rsqrt()", (WORDS,)),
    Mutant("noise-not-flattened", "layers/word_vectors.py", "NOISE = 0.75", "NOISE = 1.0", (WORDS,)),
    Mutant("windows-across-texts", "layers/word_vectors.py", " & (text[inside] == text[:, None])", "", (WORDS,)),
    Mutant("pairs-averaged", "layers/word_vectors.py", "gradient * len(true)", "gradient", (WORDS,)),
    Mutant("bags-averaged", "layers/word_vectors.py", "gradient * (seen != PAD).sum(1, keepdim=True)", "gradient", (WORDS,)),
    Mutant("noise-denies-the-true-word", "layers/word_vectors.py", "(softplus(scores[:, 1:]) * said).sum()", "softplus(scores[:, 1:]).sum()", (WORDS,)),
    Mutant("rows-added-in-the-wrong-order", "layers/word_vectors.py", "order if which is None", "places if which is None", (WORDS,)),
    Mutant("frequent-words-overshoot", "layers/word_vectors.py", "values.mul_((TOGETHER / times).clamp_max(1.0)[:, None])", "pass", (WORDS,)),
    Mutant("answers-with-the-question", "tasks/word_vectors.py", "cosines[rows] = -2.0", "pass", (WORDS,)),
    Mutant("vectors-at-their-own-size", "text/vectors.py", "numbers / np.float32(size * wanted**0.5)", "numbers", (VECTORS,)),
    Mutant("vectors-read-again", "training/loop.py", "fresh=not kept", "fresh=True", (VECTORS,)),
    Mutant("sparse-rows-twice", "training/engine.py", "weight.grad = weight.grad.coalesce()", "pass", (WORDS,)),
    Mutant("stream-reads-its-answer", "batches/streams.py", "np.clip(wanted - 1, 0, size - 1)", "np.clip(wanted, 0, size - 1)", (STREAMS,)),
    Mutant("rows-overlap", "batches/streams.py", "np.arange(rows) * steps * self.context", "np.arange(rows) * (steps - 1) * self.context", (STREAMS,)),
    Mutant("nothing-carried", "training/engine.py", "None if fed.first else self.carried", "None", (LANGUAGE_MODELS,)),
    Mutant("carried-into-the-next-epoch", "training/engine.py", "None if fed.first else self.carried", "self.carried", (LANGUAGE_MODELS,)),
    Mutant("carried-is-not-saved", "training/state.py", "for number, part in enumerate(carried)}", "for number, part in enumerate(())}", (LANGUAGE_MODELS,)),
    Mutant("reach-is-context", "tasks/language_model.py", "max(0, self.reach - self.context))", "0)", (LANGUAGE_MODEL,)),
    Mutant("reach-never-cut", "tasks/language_model.py", "detach(state) if left else state", "state", (LANGUAGE_MODEL,)),
    Mutant("prompt-thrown-away", "tasks/_speaker.py", "read[self.windowed.begins(len(read)) :]", "read[-1:]", (WINDOWED,)),
    Mutant("windows-begin-with-nothing", "tasks/_windowed.py", "if read.shape[1] else inner", "if False else inner", (WINDOWED,)),
    Mutant("length-asked-for-is-cut", "recipe.py", '{"steps": ("passes",), ', "{", ("tests/unit/test_recipe.py",)),
    Mutant("a-named-part-inherits", "recipe.py", "{*named, *(key", "{*(key", ("tests/unit/test_recipe.py",)),
    Mutant("vocabulary-never-fits", "text/tokenizers/_sentencepiece.py", "characters // _EACH", "0", ("tests/laws/test_tokenizers.py",)),
    Mutant("never-shortened", "run.py", "training.shortened(", "(lambda _: training)(", (TRAINING,)),
    Mutant("prompt-explained-too", "tasks/_speaker.py", "return found[given:]", "return found", (LANGUAGE_MODEL,)),
]


def passes(tests: Sequence[str], mutant: Mutant | None = None) -> bool:
    """Do these tests pass in a copy of the house, with the bug planted there?"""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("saccade", "tests", "recipes", "pyproject.toml"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        if mutant:
            path = copy / "saccade" / mutant.file
            path.write_text(path.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(command, cwd=copy, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"the tests did not run\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.returncode == 0


def main() -> int:
    """Run the mutants named on the command line, or all; the exit status is 1 if one survives."""
    wanted = sys.argv[1:]
    if strange := set(wanted) - {mutant.name for mutant in MUTANTS}:
        sys.exit(f"no such bug: {', '.join(sorted(strange))}")
    chosen = [mutant for mutant in MUTANTS if not wanted or mutant.name in wanted]
    if not passes(sorted({test for mutant in chosen for test in mutant.tests})):
        print("the tests fail without any bug planted: mend them first")
        return 1
    survivors = []
    for mutant in chosen:
        begun = time.monotonic()
        caught = not passes(mutant.tests, mutant)
        print(f"{'caught  ' if caught else 'SURVIVED'}  {mutant.name:<24} {mutant.file:<34} {time.monotonic() - begun:5.1f} s", flush=True)
        survivors += [] if caught else [mutant.name]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught" + (f"; survivors: {', '.join(survivors)}" if survivors else ""))
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
