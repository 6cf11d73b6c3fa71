"""The task of language models: what is predicted, what is carried, what is said."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from saccade.batches.ids import gather
from saccade.batches.streams import Excerpt
from saccade.decoders import Decoder
from saccade.errors import DataError, UsageError
from saccade.families import choose
from saccade.search import Sampling, Search
from saccade.tasks import Data, Prediction, Splits
from saccade.tasks.language_model import LanguageModel
from saccade.text.tokenizers import Tokenizer
from saccade.types import BOS, EOS

LINES = ["the cat sat on the mat", "", "a dog ran", "the end of the cat"] * 6
TRANSFORMER = {"name": "transformer", "dim": 8, "layers": 1, "heads": 2}


def task(lines: list[str] = LINES, decoder: dict | None = None, tokenizer: str = "characters", **chosen: object) -> LanguageModel:
    """One that has learned its symbols."""
    made = LanguageModel(
        tokenizer=choose(Tokenizer, tokenizer),
        decoder=choose(Decoder, **(decoder or {"name": "recurrent", "dim": 8, "cell": "lstm"})),
        **{"context": 8, **chosen},
    )
    made.learn(Splits(lines, lines, []))
    return made


def model_of(made: LanguageModel):
    torch.manual_seed(0)
    model = made.build()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    return model.eval()


def by_hand(made: LanguageModel, lines: list[str], start: int = EOS) -> tuple[float, int]:
    """Nats and symbols of the whole text, in one pass."""
    model = model_of(made)
    ids = [i for line in lines for i in (*made.tokenizer.encode(line), EOS)]
    scores = model(torch.tensor([[start, *ids[:-1]]])).log_softmax(-1)[0]
    return -float(scores[range(len(ids)), ids].sum().detach()), len(ids)


def test_a_line_break_is_a_symbol_so_that_symbols_of_characters_are_characters():
    made = task()
    text = "".join(f"{line}\n" for line in LINES)
    assert len(made.examples(LINES)) == len(text)
    assert made.tokenizer.size == 4 + len(set(text) - {"\n"})


@pytest.mark.parametrize("decoder", [None, {"name": "recurrent", "dim": 8, "cell": "gru", "layers": 2}])
def test_perplexity_and_bits_are_of_the_whole_stream(decoder):
    made = task(decoder=decoder)
    nats, count = by_hand(made, LINES)
    perplexity, characters, words = made.evaluate(model_of(made), LINES, Search())
    assert perplexity.value == pytest.approx(math.exp(nats / count), rel=1e-5)
    assert characters.value == pytest.approx(nats / count / math.log(2), rel=1e-5)
    assert words.value == pytest.approx(nats / sum(len(line.split()) + 1 for line in LINES) / math.log(2), rel=1e-5)
    assert perplexity.signature == f"perplexity|per:token|units:nats|tokens:{count}"


def test_windows_are_read_on_their_own():
    made = task(decoder=TRANSFORMER)
    assert not made.carries
    model = model_of(made)
    ids = [EOS, *(i for line in LINES for i in (*made.tokenizer.encode(line), EOS))]
    nats = torch.zeros(())
    for left in range(0, len(ids) - 1, 8):
        read, wanted = ids[left : left + 8][: len(ids) - 1 - left], ids[left + 1 : left + 9]
        nats -= model(torch.tensor([read])).log_softmax(-1)[0][range(len(wanted)), wanted].sum().detach()
    assert made.evaluate(model, LINES, Search())[0].value == pytest.approx(math.exp(float(nats) / (len(ids) - 1)), rel=1e-5)


def test_documents_are_texts_of_their_own():
    made = task(documents=True)
    singles = [by_hand(made, [line], BOS) for line in LINES]
    nats, count = map(sum, zip(*singles, strict=True))
    assert made.evaluate(model_of(made), LINES, Search())[0].value == pytest.approx(math.exp(nats / count), rel=1e-5)
    with pytest.raises(DataError) as caught:
        task(documents=True, longest=1).examples(LINES)
    assert caught.value.render() == "error[D028] every line is longer than 1 symbols\n  fix   longest=2"


def test_symbols_that_were_never_learned_are_counted_in_the_signature():
    made = task()
    assert made.evaluate(model_of(made), ["xyz"], Search())[0].signature.endswith("tokens:4|unknown:3")


def gradients(made: LanguageModel, pieces: list[Excerpt]) -> dict[str, torch.Tensor]:
    """Of the summed loss of pieces that are carried on as the trainer does it."""
    model, carried = model_of(made), None
    from saccade.types import detach

    for piece in pieces:
        loss, carried = made.carried_loss(model, piece, carried, 0.0, 1.0, torch.Generator())
        loss.total.backward()
        carried = detach(carried)
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def rows(length: int) -> Excerpt:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(4, 12, (3, length + 1), generator=generator)
    return Excerpt(ids[:, :-1], ids[:, 1:])


def cut(text: Excerpt, width: int) -> list[Excerpt]:
    return [Excerpt(*pair) for pair in zip(*(side.split(width, 1) for side in text), strict=True)]


def test_truncated_backpropagation_over_everything_is_backpropagation():
    """k2 = T: for the last batch the gradient reaches the very beginning."""
    whole, text = task(context=24), rows(24)
    expected = gradients(whole, [Excerpt(text.tokens, torch.cat([torch.zeros_like(text.targets[:, :16]), text.targets[:, 16:]], 1))])
    first = [Excerpt(piece.tokens, torch.zeros_like(piece.targets)) for piece in cut(text, 8)[:2]]
    found = gradients(task(context=8, reach=24), [*first, cut(text, 8)[2]])
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-6)
    short = gradients(task(context=8), [*first, cut(text, 8)[2]])
    assert any((short[name] - gradient).abs().max() > 1e-4 for name, gradient in expected.items())


def test_reach_below_context_is_smaller_contexts():
    text = rows(24)
    expected, found = gradients(task(context=4), cut(text, 4)), gradients(task(context=24, reach=4), [text])
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5)


def test_the_state_is_carried_and_the_loss_does_not_see_the_cuts():
    made, text = task(context=6), rows(24)
    model, carried, total = model_of(made), None, 0.0
    for piece in cut(text, 6):
        loss, carried = made.carried_loss(model, piece, carried, 0.0, 1.0, torch.Generator())
        total += float(loss.nll)
    once = task(context=24).loss(model, text, 0.0, 1.0, torch.Generator())
    assert total == pytest.approx(float(once.nll), rel=1e-5)


def test_c012_a_state_that_grows_is_not_carried():
    with pytest.raises(UsageError) as caught:
        task(decoder=TRANSFORMER, carry=True).build()
    assert caught.value.headline == "carry = true, but the state of this decoder grows with the text"
    with pytest.raises(UsageError, match="reach = 0"):
        task(reach=0)
    made = task()
    with pytest.raises(UsageError, match="forcing"):
        made.loss(model_of(made), rows(8), 0.0, 0.5, torch.Generator())


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("decoder", [None, TRANSFORMER, {"name": "ngram", "order": 3}])
@pytest.mark.parametrize("carry", [None, False])
def test_what_is_scored_is_what_is_tested(documents, decoder, carry):
    made = task(decoder=decoder, documents=documents, carry=carry)
    model = model_of(made)
    made.fit(model, made.examples(LINES))
    texts = [f"{line}\n" for line in LINES] if documents else ["".join(f"{line}\n" for line in LINES)]
    symbols = [symbol for text in texts for symbol in made.explain(model, text)]
    mean = -sum(symbol.logprob for symbol in symbols) / len(symbols)
    assert math.exp(mean) == pytest.approx(made.evaluate(model, LINES, Search())[0].value, rel=1e-4)
    assert [symbol.piece.text for symbol in symbols] == list("".join(f"{line}\n" for line in LINES))


def test_explaining_says_rank_entropy_and_alternatives():
    made = task()
    model = model_of(made)
    symbols = made.explain(model, "at\n", prompt="the c", alternatives=3)
    ids = [EOS, *made.tokenizer.encode("the cat"), EOS]
    scores = model(torch.tensor([ids[:-1]])).log_softmax(-1)[0, -3:].detach()
    for symbol, row, wanted in zip(symbols, scores, ids[-3:], strict=True):
        assert symbol.logprob == pytest.approx(float(row[wanted]), abs=1e-5)
        assert symbol.rank == 1 + int((row > row[wanted]).sum())
        assert symbol.entropy == pytest.approx(float(-(row.exp() * row).sum()), abs=1e-4)
        assert [score for _, score in symbol.alternatives] == pytest.approx(sorted(row.tolist())[:-4:-1], abs=1e-5)


@pytest.mark.parametrize("tokenizer", ["unigram", "characters"])
def test_what_it_could_have_been_is_written_like_what_it_was(tokenizer):
    made = task(tokenizer=tokenizer)
    symbols = made.explain(model_of(made), "the cat sat\n", alternatives=made.tokenizer.size)
    assert all(symbol.piece.text in dict(symbol.alternatives) for symbol in symbols)
    assert {symbol.piece.text[0] for symbol in symbols} >= ({"\u2581"} if tokenizer == "unigram" else {"t", " "})


@pytest.mark.parametrize("chosen", [{}, {"documents": True}])
def test_a_look_is_where_the_model_looked_back(chosen):
    """Of a text longer than a window, at its last symbols; each looks at itself and before."""
    made = task(decoder=TRANSFORMER, **chosen)
    look = made.look(model_of(made), "the cat sat ", Prediction("on the mat", 0.0, 0.0, [], True))
    (weights,) = look.weights.values()
    length = 8 if not chosen else 22
    assert look.output == "the cat sat on the mat"[-length:]
    assert weights.shape == (2, length, length)
    assert len(look.output_pieces) == length - 1
    assert np.allclose(weights.sum(-1), 1, atol=1e-5)
    assert all(weights[:, row, row : length - 1].max() < 1e-6 for row in range(length - 1))


@pytest.mark.parametrize("documents", [False, True])
def test_a_continuation_comes_piece_by_piece_and_ends(documents):
    made = task(documents=documents)
    model, sampling = model_of(made), Sampling(longest=40, seed=2)
    pieces = list(made.stream(model, "the cat", sampling))
    text = "".join(pieces)
    assert len(pieces) > 1
    assert len(text) == 40 or documents
    assert "\n" not in text or not documents
    assert made.several(model, "the cat", sampling, 1) == [text]
    stop = text[3:5]
    assert "".join(made.stream(model, "the cat", sampling, [stop])) == text[: text.index(stop)]


def test_bytes_of_one_character_are_given_out_together():
    made = task(["äöü ß"], tokenizer="bytes")
    text = "".join(made._speaker(model_of(made)).spoken([i for c in "äö" for i in made.tokenizer.encode(c)]))
    assert text == "äö"


def test_words_that_go_on_begin_with_their_space():
    made = task(tokenizer="words")
    said = "".join(made.stream(model_of(made), "the cat", Sampling(longest=4)))
    assert said[0] in " \n"
    assert [symbol.piece.text for symbol in made.explain(model_of(made), said, prompt="the cat")] == said.replace("\n", " \n ").split(" ")[1:] or "\n" in said


def test_c027_a_prompt_of_which_nothing_is_known():
    made = task()
    with pytest.raises(UsageError) as caught:
        made.stream(model_of(made), "жжж", Sampling())
    assert caught.value.render() == "error[C027] the model knows nothing of the prompt 'жжж'\n  fix   a prompt in the language of its training text"
    assert made.unknown("the жcat") == ["ж"]


def test_without_files_of_their_own_validation_and_test_are_the_end_of_the_text(tmp_path: Path):
    (tmp_path / "text").write_text("".join(f"line {number:03}\n" for number in range(100)))
    splits = LanguageModel().read(Data(folder=str(tmp_path), train="text", valid_share=0.1, test_share=0.05))
    assert [len(part) for part in splits] == [85, 10, 5]
    assert [*splits.train, *splits.valid, *splits.test] == [f"line {number:03}" for number in range(100)]
    (tmp_path / "more").write_text("more\n")
    both = LanguageModel().read(Data(folder=str(tmp_path), train=("text", "more"), valid="more", test="more"))
    assert (len(both.train), list(both.valid)) == (101, ["more"])


def test_texts_cut_into_words_are_taken_as_they_are():
    words = choose(Tokenizer, "words", split="spaces")()
    words.learn([" no it was n't <unk> monday "])
    ids = words.encode("  no  <unk> ")
    assert (words.decode(ids), [piece.text for piece in words.pieces("  no  <unk> ")]) == ("no <unk>", ["no", "<unk>"])
    assert words.size == 4 + 6
    assert [(piece.start, piece.end) for piece in words.pieces("  no  <unk> ")] == [(2, 4), (6, 11)]


def test_encoded_lines_are_kept_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = task()
    first = made.examples(LINES, tmp_path / "store")
    monkeypatch.setattr(LanguageModel, "_encoded", lambda task, raw: (pytest.fail("encoded again") for _ in raw))
    again = made.examples(LINES, tmp_path / "store")
    assert first.lines.flat.tolist() == again.lines.flat.tolist()
    assert gather({"text": 10}, [([4, 5],)])[0].flat.tolist() == [4, 5]
