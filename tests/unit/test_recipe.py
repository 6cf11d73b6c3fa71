"""Recipes: TOML to parts and back, overrides, sizes, and messages that name the line."""

import tomllib
from pathlib import Path

import pytest

from saccade.errors import UsageError
from saccade.recipe import SIZES, check, from_table, line_of, locate, merge, parse_override, read_recipe, shipped
from saccade.space import with_settings

RECIPES = sorted(path.stem for path in shipped().glob("*.toml"))


def expect_refusal(code: str, headline: str, fix: str, *overrides: str, path: Path | None = None) -> None:
    """Exactly this message."""
    with pytest.raises(UsageError) as caught:
        read_recipe(path, overrides=overrides)
    assert (caught.value.code, caught.value.headline, caught.value.parts["fix"]) == (code, headline, [fix])


def written(*overrides: str, **defaults: object) -> dict:
    """What a recipe says in full."""
    return tomllib.loads(read_recipe(overrides=overrides, defaults=defaults).to_toml())


@pytest.mark.parametrize("name", [None, *RECIPES])
@pytest.mark.parametrize("size", [None, *SIZES])
def test_a_recipe_written_and_read_is_the_same(tmp_path, name, size):
    recipe = read_recipe(name, defaults={"size": size} if size else None)
    path = tmp_path / "again.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    again = read_recipe(path)
    assert again.to_toml() == recipe.to_toml()
    assert (again.data, again.search, again.seed) == (recipe.data, recipe.search, recipe.seed)
    assert from_table(tomllib.loads(path.read_text(encoding="utf-8"))).to_toml() == recipe.to_toml()


def test_defaults_are_spelled_out():
    table = written()
    assert table["task"] == "translate"
    assert table["seed"] == 1
    assert table["encoder"]["name"] == table["decoder"]["name"] == "transformer"
    assert table["target_tokenizer"] == table["data"]["source"] == "none"
    wave = {"warmup_share": 0.3, "start_factor": 25.0, "end_factor": 1e4, "shape": "cosine"}
    assert table["training"]["schedule"] == {"name": "one_cycle", **wave, "cycle_momentum": False, "low_momentum": 0.85, "high_momentum": 0.95}
    assert (table["training"]["rates"], table["training"]["decays"], table["training"]["freeze"]) == ("none", "none", [])
    assert table["search"]["beam"] == 5


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("training.steps=100", {"training": {"steps": 100}}),
        ("training.learning_rate=1e-4", {"training": {"learning_rate": 1e-4}}),
        ("share_embeddings=false", {"share_embeddings": False}),
        ("encoder=recurrent", {"encoder": "recurrent"}),
        ('encoder="recurrent"', {"encoder": "recurrent"}),
        ("data.train=a=b.tsv", {"data": {"train": "a=b.tsv"}}),
        ('data.train=["a", "b"]', {"data": {"train": ["a", "b"]}}),
        ("tokenizer={name='bpe', size=500}", {"tokenizer": {"name": "bpe", "size": 500}}),
        (" seed = 7 ", {"seed": 7}),
        ('training.rates={ "encoder.*" = 0.1, "*bias" = 2 }', {"training": {"rates": {"encoder.*": 0.1, "*bias": 2}}}),
        ('training.rates."encoder.*"=0.1', {"training": {"rates": {"encoder.*": 0.1}}}),
        ("data.train=", {"data": {"train": ""}}),
        ("target_tokenizer=none", {"target_tokenizer": "none"}),
    ],
)
def test_overrides(text, table):
    assert parse_override(text) == table


@pytest.mark.parametrize("text", ["training.steps", "=3", "a b=3", "1a=3", ".a=3", "-x=3", "a-b=3", '"a"=3', 'a."b".c=3', 'a."b=3'])
def test_what_is_no_override(text):
    expect_refusal("C017", f"{text!r} is not an override", "name=value, as in training.steps=2000", text)


def test_tables_are_merged_and_another_name_begins_afresh():
    under = {"encoder": {"name": "recurrent", "dim": 8}, "cell": "lstm"}
    assert merge(under, {"encoder": {"layers": 2}}) == {"encoder": {"name": "recurrent", "dim": 8, "layers": 2}, "cell": "lstm"}
    assert merge(under, {"encoder": {"name": "recurrent", "layers": 2}})["encoder"] == {"name": "recurrent", "dim": 8, "layers": 2}
    assert merge(under, {"encoder": {"name": "transformer"}})["encoder"] == {"name": "transformer"}
    assert merge(under, {"encoder": "transformer"})["encoder"] == "transformer"
    assert merge(under, {"cell": {"forget_bias": 2}})["cell"] == {"name": "lstm", "forget_bias": 2}
    assert under == {"encoder": {"name": "recurrent", "dim": 8}, "cell": "lstm"}


def test_knobs_of_knobs(tmp_path):
    path = tmp_path / "lstm.toml"
    path.write_text('encoder = { name = "recurrent", cell = "lstm", dim = 16 }\ndecoder = { name = "recurrent", dim = 16 }\n')
    recipe = read_recipe(path, overrides=["encoder.cell.forget_bias=2", "decoder.score.hidden=5", "training.schedule.warmup_share=0.7"])
    table = tomllib.loads(recipe.to_toml())
    assert table["encoder"]["cell"] == {"name": "lstm", "forget_bias": 2.0}
    assert table["decoder"]["score"] == {"name": "additive", "hidden": 5}
    assert table["training"]["schedule"]["warmup_share"] == 0.7
    expect_refusal("C011", "unknown setting decoder.cell.forget_bias", "there is nothing to choose from", "decoder.cell.forget_bias=2", path=path)


def test_none_leaves_a_part_out():
    assert written("decoder=recurrent", "encoder.dim=256", "decoder.score=none")["decoder"]["score"] == "none"
    expect_refusal("C010", "no encoder called 'none'", "there is recurrent, transformer", "encoder=none")


def test_patterns_go_to_toml_and_back(tmp_path):
    dials = ['training.rates={ "encoder.*" = 0.1, "decoder.layers.0.*" = 2 }', 'training.decays={ "*bias" = 0 }', 'training.freeze=["*norm*"]']
    recipe = read_recipe(overrides=dials)
    assert recipe.training.rates == {"encoder.*": 0.1, "decoder.layers.0.*": 2.0}
    assert (recipe.training.decays, recipe.training.freeze) == ({"*bias": 0.0}, ("*norm*",))
    path = tmp_path / "again.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    again = read_recipe(path)
    assert (again.to_toml(), again.training.rates) == (recipe.to_toml(), recipe.training.rates)
    more = read_recipe(path, overrides=['training.rates."decoder.*"=3', "training.decays=none"]).training
    assert (list(more.rates.items())[-1], len(more.rates), more.decays) == (("decoder.*", 3.0), 3, None)


def test_patterns_where_there_were_none(tmp_path):
    path = tmp_path / "again.toml"
    path.write_text(read_recipe().to_toml(), encoding="utf-8")
    assert 'rates = "none"' in path.read_text(encoding="utf-8")
    assert read_recipe(path, overrides=['training.rates={ "encoder.*" = 0.1 }']).training.rates == {"encoder.*": 0.1}


@pytest.mark.parametrize("size", SIZES)
def test_a_size_sets_what_is_not_set(size):
    table = written(size=size)
    for side in ("encoder", "decoder"):
        assert {knob: table[side][knob] for knob in SIZES[size]} == SIZES[size]
    table = written("encoder=recurrent", "encoder.layers=4", "decoder.dim=64", size=size, share_embeddings=False)
    assert (table["encoder"]["dim"], table["encoder"]["layers"], table["decoder"]["dim"]) == (SIZES[size]["dim"], 4, 64)
    assert "heads" not in table["encoder"]


def test_a_size_leaves_the_rest_of_a_task_s_own_part_as_it_is():
    own = {"position", "initialisation", "embedding_scale"}
    plain, sized = (written(task="language_model", **more)["decoder"] for more in ({}, {"size": "tiny"}))
    assert {knob for knob, value in sized.items() if value != plain[knob]} == set(SIZES["tiny"])
    named = written(task="language_model", size="tiny", decoder="transformer")["decoder"]
    assert {knob for knob, value in named.items() if value != sized[knob]} == own


def test_training_that_nobody_measured_out_is_as_long_as_suits_the_task(tmp_path):
    suited = read_recipe(defaults={"task": "language_model"}).training
    assert (suited.passes, suited.optimizer, suited.weight_decay) == (5, "adamw", 0.1)
    other = read_recipe(defaults={"task": "language_model"}, overrides=["training.optimizer=sgd"]).training
    assert (other.passes, other.optimizer, other.weight_decay) == (5, "sgd", 0.0)
    asked = read_recipe(defaults={"task": "language_model"}, overrides=["training.steps=4000"]).training
    assert (asked.steps, asked.passes, asked.label_smoothing) == (4000, 0, 0.0)
    assert read_recipe(defaults={"task": "language_model"}, overrides=["training.passes=2", "training.steps=4000"]).training.passes == 2
    path = tmp_path / "written.toml"
    path.write_text(read_recipe(defaults={"task": "language_model"}).to_toml(), encoding="utf-8")
    assert [read_recipe(path, overrides=words).training.passes for words in ([], ["training.steps=4000"])] == [5, 0]
    assert with_settings(read_recipe(path), ["training.steps=4000"]).training.passes == 0
    assert read_recipe().training.passes == 0


@pytest.mark.parametrize(("said", "warmup", "floor"), [({"floor": 0.2}, 100, 0.2), ({"name": "cosine", "floor": 0.2}, 0, 0.2), ("cosine", 0, 0.0)])
def test_a_part_said_by_name_is_that_part_as_it_comes(said, warmup, floor):
    schedule = read_recipe(defaults={"task": "language_model", "training": {"schedule": said}}).training.schedule(1.0, 10)
    assert (schedule.warmup, schedule.floor) == (warmup, floor)


def test_a_size_does_not_hide_what_is_wrong():
    expect_refusal("C012", "size = 'medium'; it must be tiny or small or base", "there is base, small, tiny", "size=medium")
    expect_refusal("C012", "size = ['tiny']; it must be tiny or small or base", "did you mean tiny?", "size=['tiny']")
    expect_refusal("C013", "encoder should be a name or a table with a name, found 5", 'encoder = "recurrent"', "size=tiny", "encoder=5")
    expect_refusal("C013", "encoder should be a name or a table with a name, found {'name': 5}", 'encoder = "recurrent"', "size=tiny", "encoder={name=5}")


def test_what_was_meant():
    expect_refusal("C011", "unknown setting tokeniser", "did you mean tokenizer?", "tokeniser=bpe")
    expect_refusal("C011", "unknown setting trainin", "did you mean training?", "trainin.steps=3")
    expect_refusal("C011", "unknown setting training.step", "did you mean steps?", "training.step=3")
    expect_refusal("C011", "unknown setting data.trian", "did you mean train?", "data.trian=x")
    expect_refusal("C010", "no task called 'translat'", "did you mean translate?", "task=translat")
    expect_refusal("C010", "no tokenizer called 'bpf'", "did you mean bpe?", "tokenizer=bpf")
    expect_refusal("C010", "no position called 'rotery'", "did you mean rotary?", "encoder.position=rotery")
    expect_refusal(
        "C013", "training.optimizer: expected 'adam' or 'adamw' or 'sgd' or 'adadelta', found 'adams'", "did you mean adam?", "training.optimizer=adams"
    )


def test_what_should_be_a_table_or_a_number():
    expect_refusal("C013", "data: expected a table, found 'x.tsv'", "[data]", "data=x.tsv")
    expect_refusal("C013", "task: expected a name, found 3", 'task = "translate"', "task=3")
    expect_refusal("C013", "task: expected a name, found {'longest': 3}", 'task = "translate"', "task.longest=3")
    expect_refusal("C013", "seed: expected a whole number from 0 on, found True", "seed = 1", "seed=true")
    expect_refusal("C013", "seed: expected a whole number from 0 on, found 1.5", "seed = 1", "seed=1.5")


@pytest.mark.parametrize("name", ["__import__", "os.system", "../../evil", "__init__", "saccade.encoders.recurrent", "http://example.org/x"])
def test_a_recipe_names_nothing_outside_the_folders(name):
    for part in ("encoder", "decoder", "tokenizer", "task"):
        with pytest.raises(UsageError, match=r"error\[C010\] no ") as caught:
            from_table({part: name if part == "task" else {"name": name}})
        assert caught.value.headline == f"no {part} called {name!r}"
    with pytest.raises(UsageError, match=r"error\[C010\] no metric called"):
        check(from_table({"metrics": [name]}))


@pytest.mark.parametrize(
    ("line", "text", "code", "headline"),
    [
        (1, "sede = 3", "C011", "unknown setting sede"),
        (3, '\n# encoder = "x"\nencoder = "lstm"', "C010", "no encoder called 'lstm'"),
        (2, "[training]\nsteps = '9'", "C013", "training.steps: expected a whole number, found '9'"),
        (3, "[training]\n[encoder.position]\nname = 'x'", "C010", "no position called 'x'"),
        (2, "seed = 2\ntraining = { steps = 4, clipp = 1.0 }", "C011", "unknown setting training.clipp"),
        (2, "[decoder]\nscore.hiden = 3\nname = 'recurrent'", "C011", "unknown setting decoder.score.hiden"),
        (3, "[training.rates]\n'a' = 1\n\"encoder.*\" = 'slow'", "C013", "training.rates.\"encoder.*\": expected a number, found 'slow'"),
        (2, '[training.decays]\n"*bias" = -1', "C012", 'training.decays."*bias" = -1.0; it must be at least 0'),
        (2, '[training]\nrates = { "*" = -1 }', "C012", 'training.rates."*" = -1.0; it must be at least 0'),
        (3, "[training]\nsteps = 9\nfreeze = ['encodr.*']", "C012", "training.freeze = 'encodr.*': no weight has such a name"),
        (1, "training.steps = 0", "C012", "training.steps = 0; it must be at least 1"),
        (4, "[encoder]\ndim = 30\n\nheads = 4", "C012", "encoder: heads = 4 does not divide dim = 30"),
        (2, "seed = 4\nsize = 'large'", "C012", "size = 'large'; it must be tiny or small or base"),
        (1, "seed = -1", "C013", "seed: expected a whole number from 0 on, found -1"),
        (2, "[encoder]\nlayers = 0", "C012", "encoder.layers = 0; it must be at least 1"),
        (3, "[training.schedule]\nname = 'inverse_sqrt'\nwarmup = 0", "C012", "training.schedule.warmup = 0; it must be at least 1"),
        (2, "[tokenizer]\nsize = 3", "C012", "tokenizer.size = 3; it must be at least 300"),
        (1, "data = { columns = [1] }", "C012", "data.columns = [1]: two numbers are needed, source and target"),
        (1, "search = { beam = 0 }", "C012", "search: beam = 0, no_repeat = 0, longest_ratio = 2.0, longest_extra = 20"),
    ],
)
def test_a_message_names_the_line(tmp_path, line, text, code, headline):
    path = tmp_path / "recipe.toml"
    path.write_text(text + "\n")
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    assert (caught.value.code, caught.value.headline) == (code, f"{path} line {line}: {headline}")


def test_what_the_command_line_said_is_not_blamed_on_the_file(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("[training]\nsteps = 9\n[encoder]\nheads = 2\n")
    expect_refusal("C013", "training.steps: expected a whole number, found '9k'", "training.steps=9000", "training.steps=9k", path=path)
    expect_refusal("C012", "encoder: heads = 3 does not divide dim = 256", "heads could be 1, 2, 4, 8, 16", "encoder.heads=3", path=path)
    expect_refusal("C011", "unknown setting training.stepz", "did you mean steps?", "training.stepz=9", path=path)


def test_lines_are_found_by_the_longest_name():
    text = '# encoder = 1\nencoder = { name = "x" }\n[decoder]\ndim = 3\n[decoder.score]\nhidden = 4\n[training]\ndim = 5'
    assert [line_of(text, name) for name in ("encoder.dim", "decoder.dim", "decoder.heads", "decoder.score.hidden", "decoder.score", "search")] == [
        2,
        4,
        3,
        6,
        5,
        None,
    ]


def test_recipes_are_found_by_path_or_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate(Path("vaswani2017")) == locate(Path("vaswani2017.toml")) == shipped() / "vaswani2017.toml"
    (tmp_path / "vaswani2017.toml").write_text("seed = 5\n")
    assert read_recipe("vaswani2017.toml").seed == 5
    expect_refusal("C003", "there is no recipe vaswani2071", "did you mean vaswani2017?", path=Path("vaswani2071"))


def test_a_recipe_is_checked_without_memory_for_it():
    wide = {"dim": 1 << 20, "heads": 1}
    check(from_table({"encoder": wide, "decoder": wide}))
    with pytest.raises(UsageError) as caught:
        check(from_table({"encoder": {"dim": 64}, "decoder": {"dim": 128}}))
    assert caught.value.headline.startswith("shared embeddings need one size: ")
    assert caught.value.parts["fix"] == ["the same dim (and embedding) on both sides, or share_embeddings = false"]
