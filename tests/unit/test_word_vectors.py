"""word2vec: what is drawn, what one update does, and what a trained model answers."""

import numpy as np
import pytest
import torch

from saccade.batches.ids import gather
from saccade.batches.sentences import Sentences
from saccade.errors import DataError, ModelError, UsageError, suggestion
from saccade.exchange import export_model
from saccade.layers import word_vectors
from saccade.layers.word_vectors import WordVectors, kept, shortened, windows
from saccade.recipe import read_recipe
from saccade.run import Run, load
from saccade.text.vectors import read_vectors
from saccade.training.checkpoint import checkpoints
from saccade.types import PAD, UNK, pad

COUNTS = torch.tensor([0, 0, 0, 0, 50, 30, 10, 5, 3, 2])


def coins(seed=0):
    return torch.Generator().manual_seed(seed)


# -------------------------------------------------------------------------------------------------------------------- drawn


def test_words_are_left_out_as_the_published_program_does():
    """ran = (sqrt(cn / (sample * train_words)) + 1) * (sample * train_words) / cn, as in word2vec.c."""
    sample, total = 0.05, float(COUNTS.sum())
    expected = [min(1.0, (np.sqrt(n / (sample * total)) + 1) * (sample * total) / n) if n else 1.0 for n in COUNTS.tolist()]
    np.testing.assert_allclose(kept(COUNTS.double(), sample).numpy(), expected, rtol=1e-12)
    assert kept(COUNTS.double(), 0.0).tolist() == [1.0] * 10


def test_as_many_words_are_left_out_as_that_says():
    model = WordVectors(COUNTS, dim=2, subsample=0.05)
    words, text = model.used(pad([[4, 7] * 3000, [UNK, 5] * 3000, [8]]), coins())
    expected = kept(COUNTS.double(), 0.05)
    for word in (4, 5):
        assert int((words == word).sum()) == pytest.approx(3000 * float(expected[word]), rel=0.05)
    assert set(words.tolist()) == {4, 5, 7, 8}
    assert text[words == 5].unique().tolist() == [1]
    assert text[words == 8].tolist() == [2]


def test_windows_reach_as_far_as_each_word_drew_and_never_into_another_text():
    text = torch.tensor([0] * 4000 + [1] * 3 + [2])
    places, near = windows(text, 3, coins())
    assert places.shape == near.shape == (4004, 6)
    reach = near[:, 3:].sum(1)[10:3990]
    assert torch.bincount(reach, minlength=4)[1:].tolist() == pytest.approx([1327] * 3, rel=0.08)
    for row in (0, 1, 2000, 4000, 4001, 4002, 4003):
        there = places[row][near[row]].tolist()
        assert row not in there
        assert all(text[i] == text[row] for i in there)
        wide = max((abs(i - row) for i in there), default=0)
        assert there == [i for i in range(row - wide, row + wide + 1) if i != row and 0 <= i < 4004 and text[i] == text[row]]
    assert not near[4003].any()


def test_noise_is_the_distribution_to_the_power_of_three_quarters():
    drawn = WordVectors(COUNTS, dim=2, negatives=5).drawn(torch.full((20000,), 4), coins())
    assert drawn[:, 0].unique().tolist() == [4]
    expected = COUNTS.double().pow(0.75)
    np.testing.assert_allclose(torch.bincount(drawn[:, 1:].flatten(), minlength=10) / 100000, expected / expected.sum(), atol=0.005)


def test_pairs_are_words_with_their_neighbours_and_bags_are_words_with_all_of_them():
    chosen = {"dim": 2, "window": 1, "subsample": 0.0}
    sentences = pad([[4, UNK, 5, 6], [7], [8, 9]])
    seen, said = WordVectors(COUNTS, **chosen).pairs(sentences, coins())
    assert sorted(zip(seen[:, 0].tolist(), said.tolist(), strict=True)) == [(4, 5), (5, 4), (5, 6), (6, 5), (8, 9), (9, 8)]
    seen, said = WordVectors(COUNTS, bag=True, **chosen).pairs(sentences, coins())
    bags = {word: sorted(around) for word, around in zip(said.tolist(), seen.tolist(), strict=True)}
    assert bags == {4: [PAD, 5], 5: [4, 6], 6: [PAD, 5], 8: [PAD, 9], 9: [PAD, 8]}


@pytest.mark.parametrize("bag", [False, True])
def test_texts_without_a_pair_cost_nothing_and_move_nothing(bag):
    model = WordVectors(COUNTS, dim=2, bag=bag)
    found = model(pad([[4], [UNK, UNK]]), coins())
    found.total.backward()
    assert (float(found.total.detach()), int(found.count)) == (0.0, 0)
    assert not model.input.weight.grad.to_dense().any()


def test_fresh_weights():
    torch.manual_seed(0)
    model = WordVectors(torch.ones(500, dtype=torch.long), dim=40)
    assert float(model.input.weight.detach().abs().max()) <= 0.5 / 40
    assert float(model.input.weight.detach().std()) == pytest.approx(1 / 40 / 12**0.5, rel=0.02)
    assert not model.output.weight.any()
    assert len(model.state_dict()) == 2


# ----------------------------------------------------------------------------------------------------------------- one update


def model_with(monkeypatch, noise, **chosen):
    """A model with random vectors and noise words that are known."""
    torch.manual_seed(3)
    model = WordVectors(COUNTS, dim=4, negatives=noise.shape[1], **chosen)
    for table in (model.input, model.output):
        torch.nn.init.normal_(table.weight)
    monkeypatch.setattr(model, "drawn", lambda true, generator: torch.cat([true[:, None], noise], 1))
    return model


def twin(model, seen, said, noise, rate):
    """The published program on given draws (word2vec.c, lines of `negative > 0`), every pair from the weights before the update."""
    given, asked = (table.weight.detach().double().numpy() for table in (model.input, model.output))
    moved_given, moved_asked, loss = given.copy(), asked.copy(), 0.0
    for words, true, drawn in zip(seen.tolist(), said.tolist(), noise.tolist(), strict=True):
        bag = [word for word in words if word != PAD]
        hidden, error = given[bag].mean(0), 0.0
        for target, label in [(true, 1.0), *((word, 0.0) for word in drawn if word != true)]:
            said_so = 1 / (1 + np.exp(-hidden @ asked[target]))
            loss -= np.log(said_so if label else 1 - said_so)
            step = (label - said_so) * rate
            error = error + step * asked[target]
            moved_asked[target] += step * hidden
        for word in bag:
            moved_given[word] += error
    return moved_given, moved_asked, loss


@pytest.mark.parametrize(
    ("bag", "seen", "said"),
    [
        (False, [[4], [5], [4], [9]], [5, 4, 6, 9]),
        (True, [[4, 5, PAD, 6], [7, PAD, PAD, PAD], [4, 4, 8, 9]], [5, 4, 6]),
    ],
)
def test_one_update_is_what_the_published_program_does(monkeypatch, bag, seen, said):
    """... to the sum of its pairs; the noise hits the true word in the first, and one word twice in the second."""
    seen, said = torch.tensor(seen), torch.tensor(said)
    noise = torch.tensor([[5, 7, 8], [6, 6, 9], [4, 9, 5], [4, 5, 6]])[: len(said)]
    model = model_with(monkeypatch, noise, bag=bag)
    expected_given, expected_asked, expected_loss = twin(model, seen, said, noise, 0.025)
    loss = model.loss(seen, said, coins())
    (loss.total / loss.count).backward()
    torch.optim.SGD(model.parameters(), lr=0.025).step()
    assert float(loss.total.detach()) == pytest.approx(expected_loss, rel=1e-5)
    np.testing.assert_allclose(model.input.weight.detach(), expected_given, atol=1e-6)
    np.testing.assert_allclose(model.output.weight.detach(), expected_asked, atol=1e-6)


def test_words_that_come_too_often_in_one_update_take_steps_as_if_they_had_come_less_often(monkeypatch):
    monkeypatch.setattr(word_vectors, "TOGETHER", 3)
    found = shortened(torch.tensor([2, 0, 2, 2, 2, 2, 1, 2]), torch.arange(8.0)[:, None], None, None, 4)
    assert found.to_dense()[:, 0].tolist() == [1.0, 6.0, pytest.approx(3 / 6 * (0 + 2 + 3 + 4 + 5 + 7)), 0.0]


@pytest.mark.parametrize("uses", [40, 1, 0])
def test_rows_are_added_up_as_torch_adds_them(monkeypatch, uses):
    monkeypatch.setattr(word_vectors, "TOGETHER", 1000)
    places, source, which, weights = torch.randint(9, (uses,)), torch.randn(7, 5), torch.randint(7, (uses,)), torch.randn(uses)
    plain = torch.sparse_coo_tensor(places[None], weights[:, None] * source[which], (12, 5), check_invariants=True).coalesce()
    found = shortened(places, source, which, weights, 12)
    assert found.is_coalesced()
    torch.testing.assert_close(found.indices(), plain.indices())
    torch.testing.assert_close(found.values(), plain.values())


def test_products_have_the_gradients_of_their_definition():
    table, one = (torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in ((6, 5), (3, 5)))
    asked, slope = torch.tensor([[0, 1, 1, 4], [1, 2, 0, 4], [5, 5, 1, 0]]), torch.randn(3, 4, dtype=torch.double)
    found, plain = word_vectors._Products.apply(table, asked, one), torch.einsum("pad,pd->pa", table[asked], one)
    torch.testing.assert_close(found, plain)
    for ours, theirs in zip(torch.autograd.grad(found, (table, one), slope), torch.autograd.grad(plain, (table, one), slope), strict=True):
        torch.testing.assert_close(ours.to_dense(), theirs)


def test_a_model_shortens_the_steps_of_what_comes_too_often(monkeypatch):
    """200 pairs alike, 64 of which count: the word seen, the true one and the noise."""
    model = model_with(monkeypatch, torch.full((200, 1), 6))
    given, asked, _ = twin(model, torch.tensor([[4]]), torch.tensor([5]), torch.tensor([[6]]), 1.0)
    before = [table.weight.detach().clone().numpy() for table in (model.input, model.output)]
    loss = model.loss(torch.full((200, 1), 4), torch.full((200,), 5), coins())
    (loss.total / loss.count).backward()
    for table, start, moved in zip((model.input, model.output), before, (given, asked), strict=True):
        np.testing.assert_allclose(-table.weight.grad.to_dense(), word_vectors.TOGETHER * (moved - start), rtol=1e-4, atol=1e-4)


def test_what_moves_rows_without_a_gradient_is_refused():
    for setting, headline in (
        ("training.optimizer=adam", "training.optimizer = adam"),
        ("training.weight_decay=0.1", "training.weight_decay"),
        ("training.momentum=0.9", "momentum"),
        ('training.schedule={ name = "one_cycle", cycle_momentum = true }', "momentum"),
    ):
        with pytest.raises(UsageError) as caught:
            read_recipe(defaults={"task": "word_vectors"}, overrides=[setting])
        assert (caught.value.code, caught.value.headline) == ("C012", f"{headline}: gradients of this model hold only the rows that a batch used")


def test_the_task_brings_its_own_settings_of_training_and_a_recipe_wins():
    suited = read_recipe(defaults={"task": "word_vectors"})
    assert (suited.training.optimizer, suited.training.learning_rate, suited.training.clip) == ("sgd", 0.025, 0.0)
    assert suited.training.schedule(0.025, 100).rate(99) == pytest.approx(0.025 * (0.004 * 0.99 + 0.01))
    turned = read_recipe(defaults={"task": "word_vectors"}, overrides=["training.schedule.warmup=3", "training.clip=2.0", "tokenizer.minimum=2"])
    assert (turned.training.clip, turned.training.schedule.keywords) == (2.0, {"floor": 0.004, "warmup": 3})
    assert turned.task().tokenizer.limit == 1_000_000
    assert read_recipe().training.optimizer == "adam"


# ------------------------------------------------------------------------------------------------------------------ sentences


def test_every_piece_of_every_line_comes_once_and_batches_hold_about_as_many_words():
    lines = [list(range(4, 4 + length)) for length in (3, 0, 25, 10, 1, 7, 20)]
    examples = Sentences(gather({"text": 99}, ([line] for line in lines))[0], 10)
    assert len(examples) == 1 + 0 + 3 + 1 + 1 + 1 + 2
    plan = examples.plan(16, 1, 0)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(examples)))
    assert [rows.tolist() for rows in plan] == [rows.tolist() for rows in examples.plan(16, 1, 0)]
    assert [rows.tolist() for rows in plan] != [rows.tolist() for rows in examples.plan(16, 1, 1)]
    sizes = [int(examples.batch(rows.tolist()).lengths.sum()) for rows in plan]
    assert sum(sizes) == sum(map(len, lines))
    assert max(sizes) < 16 + 10
    pieces = [row[:length].tolist() for row, length in zip(*(side.unbind() for side in examples.batch(range(len(examples)))), strict=True)]
    assert pieces == [piece for line in lines for piece in (line[i : i + 10] for i in range(0, len(line), 10))]
    assert examples.padding(plan) == 0.0


# ------------------------------------------------------------------------------------------------------------------ the task

GENDERS = {"king": "queen", "man": "woman", "boy": "girl", "uncle": "aunt", "duke": "duchess", "actor": "actress"}


def planted(count=6000, seed=0):
    """Sentences in which a word's company says what it is, and whether it is male: king - man + woman = queen by design."""
    draw, lines = np.random.default_rng(seed), []
    pairs = list(GENDERS.items())
    for _ in range(count):
        kind, female = int(draw.integers(len(pairs))), int(draw.integers(2))
        company = [f"{'sf'[female]}he{draw.integers(3)}", *(f"topic{kind}{draw.integers(3)}" for _ in range(2))]
        words = [*company, pairs[kind][female]]
        draw.shuffle(words)
        lines.append(" ".join(words))
    return lines


def written(folder, lines, *more):
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    own = [f"data.folder={folder}", "data.train=text.txt", "tokenizer.split=spaces", "dim=20", "subsample=0.0", "training.device=cpu"]
    return read_recipe(defaults={"task": "word_vectors"}, overrides=[*own, "training.precision=float32", *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    settings = ["training.steps=600", "training.tokens_per_batch=200", "training.evaluate_every=300", "training.learning_rate=0.1"]
    for _ in Run.begin(written(folder, planted(), *settings), folder / "run").train():
        pass
    return load(folder / "run", device="cpu")


@pytest.mark.parametrize("method", ["skip_gram", "bag"])
def test_planted_analogies_are_found(tmp_path, trained, method):
    model = trained
    if method == "bag":
        settings = ["method=bag", "training.steps=1200", "training.tokens_per_batch=200", "training.evaluate_every=1200", "training.learning_rate=0.1"]
        for _ in Run.begin(written(tmp_path, planted(), *settings), tmp_path / "run").train():
            pass
        model = load(tmp_path / "run", device="cpu")
    questions = [(f"{a} - {c} + {d}", b) for a, b in GENDERS.items() for c, d in GENDERS.items() if a != c]
    said = [answer.text for answer in model.predict([question for question, _ in questions])]
    assert np.mean([one == right for one, (_, right) in zip(said, questions, strict=True)]) >= 0.95


def test_the_nearest_words_come_best_first_and_never_those_of_the_question(trained):
    (answer,) = trained.predict(["king"])
    cosines = [found.score for found in answer.alternatives]
    assert cosines == sorted(cosines, reverse=True)
    vectors, place = trained.task.vectors(trained.network), list(trained.task.places).index
    assert answer.score == pytest.approx(float(vectors[place("king")] @ vectors[place(answer.text)]), abs=1e-5)
    everything = trained.predict(["king - man + woman"], search=type(trained.recipe.search)(beam=10_000))[0].alternatives
    assert len(everything) == len(trained.task.places) - 3
    assert not {"king", "man", "woman"} & {found.text for found in everything}
    assert trained.predict(["", " "])[0].text == ""


def test_c035_a_word_that_is_not_known(trained):
    for text, word, fix in (
        ("kings", "kings", "did you mean king?"),
        ("king - xyzzy", "xyzzy", "there is actor"),
        ("king + - man", "- man", "did you mean man?"),
    ):
        with pytest.raises(UsageError) as caught:
            trained.predict([text])
        assert (caught.value.code, caught.value.headline) == ("C035", f"{word!r} is not among the {len(trained.task.places)} words of this model")
        assert caught.value.parts["fix"][0].startswith(fix)


def test_of_many_words_only_the_first_are_listed():
    assert suggestion("xyzzy", [f"word{i}" for i in range(51)]) == "there is " + ", ".join(f"word{i}" for i in range(10)) + " and 41 more"


def test_the_score_is_the_loss_and_a_trained_model_has_a_lower_one(trained):
    lines = planted(200, seed=9)
    (score,) = trained.test(lines)
    assert score.name == "loss"
    assert not score.higher_is_better
    assert score.signature == f"loss|skip_gram|window:5|negatives:5|words:{len(trained.task.places)}"
    assert trained.test(lines) == [score]
    (fresh,) = trained.task.evaluate(trained.task.build(), lines, trained.recipe.search)
    assert score.value < fresh.value - 0.3
    assert fresh.value == pytest.approx(6 * np.log(2), rel=0.1)


@pytest.mark.parametrize("name", ["v.txt", "v.vec"])
def test_vectors_are_exported_in_the_order_of_frequency(tmp_path, trained, name):
    export_model(trained, tmp_path / name)
    found = read_vectors(tmp_path / name)
    assert found.words == list(trained.task.places)
    assert found.repeated == []
    counts = trained.task.counts[list(trained.task.places.values())]
    assert counts.tolist() == sorted(counts.tolist(), reverse=True)
    assert torch.equal(torch.nn.functional.normalize(torch.from_numpy(found.numbers), dim=1), trained.task.vectors(trained.network))


@pytest.mark.parametrize("more", [["training.accumulate=2"], ["method=bag", "training.ema=0.9"]])
def test_a_run_that_was_interrupted_goes_on_with_the_same_numbers(tmp_path, more):
    settings = ["training.steps=20", "training.tokens_per_batch=64", "training.evaluate_every=10", "training.saving=blocking", *more]
    made = written(tmp_path, planted(300), *settings)
    whole = Run.begin(made, tmp_path / "whole")
    for _ in whole.train():
        pass
    for event in Run.begin(made, tmp_path / "parts").train():
        if type(event).__name__ == "Saved":
            break
    assert checkpoints(tmp_path / "parts")[-1].name == "step-00000010"
    for _ in Run.open(tmp_path / "parts").train():
        pass
    one, other = (checkpoints(tmp_path / name)[-1] / "model.safetensors" for name in ("whole", "parts"))
    assert one.read_bytes() == other.read_bytes()


def test_impossible_settings_and_texts_are_refused(tmp_path):
    for setting, headline in (("window=0", "window = 0; it must be at least 1"), ("subsample=1.0", "subsample = 1.0; it must be at least 0 and below 1")):
        with pytest.raises(UsageError, match="C012") as caught:
            written(tmp_path, ["a"], setting)
        assert caught.value.headline == headline
    with pytest.raises(DataError) as caught:
        Run.begin(written(tmp_path, ["a b c", "d", "e"]), tmp_path / "run")
    assert (caught.value.code, caught.value.headline) == ("D029", "there are fewer than 2 words to learn about")
    made = written(tmp_path, planted(50), "training.label_smoothing=0.1", "training.steps=1")
    with pytest.raises(UsageError) as caught:
        list(Run.begin(made, tmp_path / "run").train())
    assert caught.value.headline == "training.label_smoothing and training.forcing: word vectors have neither"


def test_m011_counts_that_do_not_belong_to_the_words(trained):
    state = trained.task.state()
    for bad in (state["tokenizer.counts"][:-1], -state["tokenizer.counts"], state["tokenizer.counts"] * 0, state["tokenizer.counts"].float()):
        with pytest.raises(ModelError) as caught:
            trained.recipe.task().restore({**state, "tokenizer.counts": bad})
        assert (caught.value.code, caught.value.headline) == ("M011", "the counts of words in this model are damaged")


def test_a_model_without_attention_has_nothing_to_draw(trained):
    from saccade.serving.looks import merge_words

    with pytest.raises(UsageError, match="C033"):
        merge_words(trained.predict(["king"])[0].attention)
