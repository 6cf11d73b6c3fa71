"""Every decoder x score x tokenizer, from text to text: answers do not depend on their batch-mates, scores are the sentences' own, looks are shares."""

import itertools

import pytest
import torch

from saccade.decoders import Decoder
from saccade.families import find, members
from saccade.recipe import from_table
from saccade.search import Search
from saccade.tasks import Splits
from saccade.tasks.translate import Translate
from saccade.text.corpus import Pair
from saccade.types import BOS, EOS, pad

from .parts import SCORES

TEXTS = ["the cat sat on the mat", "a dog", "on the mat the dog sat", "the cat"]
PAIRS = [Pair(text, " ".join(reversed(text.split()))) for text in TEXTS]
TOKENIZERS = {name: {"name": name, **({"size": 300} if name in ("bpe", "unigram") else {})} for name in members("saccade.text.tokenizers")}
DECODERS = [name for name in members("saccade.decoders") if find(Decoder, name).learns == "gradients"]
SEARCH = Search(beam=3, longest_ratio=0.0, longest_extra=6)


def made(decoder: str, score: str, tokenizer: str) -> tuple[Translate, torch.nn.Module]:
    """A task that has learned its tokenizer, and a model with random weights that say something."""
    parts = {"name": decoder, "dim": 16, "score": score, **({"layers": 1, "heads": 2} if decoder == "transformer" else {})}
    encoder = {"name": "transformer", "dim": 16, "layers": 1}
    task = from_table({"tokenizer": TOKENIZERS[tokenizer], "encoder": encoder, "decoder": parts}).task()
    task.learn(Splits(PAIRS, [], []))
    torch.manual_seed(0)
    model = task.build()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return task, model.eval()


@pytest.mark.parametrize(("decoder", "score", "tokenizer"), list(itertools.product(DECODERS, SCORES, TOKENIZERS)))
def test_from_text_to_text(decoder, score, tokenizer):
    task, model = made(decoder, score, tokenizer)
    together = task.predict(model, TEXTS, SEARCH)
    for text, answers in zip(TEXTS, together, strict=True):
        alone = task.predict(model, [text], SEARCH)[0]
        assert [answer.ids for answer in alone] == [answer.ids for answer in answers]
        best = answers[0]
        source = pad([[*task.source.encode(text), EOS]])
        symbols = [BOS, *best.ids, *([EOS] if best.complete else [])]
        with torch.no_grad():
            chances = model(source, torch.tensor([symbols[:-1]])).log_softmax(-1)[0]
        own = chances.gather(1, torch.tensor(symbols[1:])[:, None]).sum().item()
        assert own == pytest.approx(best.score, abs=1e-4)
        look = task.look(model, text, best)
        for weights in look.weights.values():
            assert weights.shape[1:] == (len(look.output_pieces) + 1, len(look.source_pieces) + 1)
            torch.testing.assert_close(torch.from_numpy(weights).sum(-1), torch.ones(weights.shape[:2]))
        assert "".join(look.output[piece.start : piece.end] for piece in look.output_pieces) == look.output


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_restored_task_says_the_same(tokenizer):
    task, model = made("transformer", "scaled_dot", tokenizer)
    again, _ = made("transformer", "scaled_dot", tokenizer)
    again.restore(task.state())
    assert again.predict(model, TEXTS, SEARCH) == task.predict(model, TEXTS, SEARCH)


def test_an_empty_text_has_the_empty_answer():
    task, model = made("transformer", "scaled_dot", "characters")
    answers = task.predict(model, ["", "a dog", "   "], SEARCH)
    assert [answer[0].text for answer in answers[::2]] == ["", ""]
    assert answers[1][0].ids == task.predict(model, ["a dog"], SEARCH)[0][0].ids


@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "unigram"])
def test_an_answer_begins_as_it_was_told_to(tokenizer):
    task, model = made("transformer", "scaled_dot", tokenizer)
    for answers in task.predict(model, TEXTS, SEARCH, prefixes=["the", "a dog", "on", "mat"]):
        assert answers[0].complete or len(answers[0].ids) > 0
    said = [answers[0].text for answers in task.predict(model, TEXTS, SEARCH, prefixes=["the", "a dog", "on", "mat"])]
    assert [text.startswith(prefix) for text, prefix in zip(said, ["the", "a dog", "on", "mat"], strict=True)] == [True] * 4
