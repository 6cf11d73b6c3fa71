"""Which weights learn, at which share of the rate, with which decay."""

import copy
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from saccade.errors import UsageError
from saccade.recipe import check, from_table, read_recipe
from saccade.run import Run
from saccade.training.checkpoint import checkpoints
from saccade.training.optimizers import build_optimizer, layer_factors, set_rates, take_step, weight_groups
from saccade.training.settings import Training

from .. import toys
from ..kills import CHILD


class Stack(nn.Module):
    """Two stacks over one embedding, named as saccade's models are."""

    def __init__(self, embedding: nn.Embedding, layers: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(layers))
        self.norm = nn.LayerNorm(4)


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        embedding = nn.Embedding(5, 4)
        self.encoder, self.decoder = Stack(embedding, 2), Stack(embedding, 1)


def by_name(model: nn.Module, training: Training, key: str) -> dict[str, float]:
    """What each weight that learns was given."""
    names = {weight: name for name, weight in model.named_parameters()}
    return {names[weight]: group[key] for group in build_optimizer(training, model).param_groups for weight in group["params"]}


def expect_refusal(training: Training, headline: str, fix: str) -> UsageError:
    """Exactly this message."""
    with pytest.raises(UsageError) as caught:
        build_optimizer(training, Toy())
    assert (caught.value.code, caught.value.headline, caught.value.parts["fix"]) == ("C012", headline, [fix])
    return caught.value


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adadelta"])
def test_without_patterns_there_is_one_group_of_all_weights_in_order(optimizer):
    model = Toy()
    (group,) = build_optimizer(Training(optimizer=optimizer, weight_decay=0.25), model).param_groups
    assert all(one is two for one, two in zip(group["params"], model.parameters(), strict=True))
    assert (group["factor"], group["weight_decay"], group["lr"]) == (1.0, 0.25, 2e-3)


@pytest.mark.parametrize(
    ("optimizer", "oracle"),
    [
        ("adam", lambda weights: torch.optim.Adam(weights, 0.01, (0.8, 0.9), 1e-7, 0.1)),
        ("adamw", lambda weights: torch.optim.AdamW(weights, 0.01, (0.8, 0.9), 1e-7, 0.1)),
        ("sgd", lambda weights: torch.optim.SGD(weights, 0.01, 0.7, weight_decay=0.1)),
        ("adadelta", lambda weights: torch.optim.Adadelta(weights, 0.01, 0.95, 1e-6, 0.1)),
    ],
)
def test_an_optimizer_is_what_its_name_says(optimizer, oracle):
    ours, theirs = Toy(), Toy()
    training = Training(optimizer=optimizer, learning_rate=0.01, beta1=0.8, beta2=0.9, epsilon=1e-7, weight_decay=0.1, momentum=0.7)
    for model, turned in ((ours, build_optimizer(training, ours)), (theirs, oracle(theirs.parameters()))):
        for number in range(5):
            for place, weight in enumerate(model.parameters()):
                weight.grad = torch.cos(torch.arange(weight.numel()) + number + place).view_as(weight)
            turned.step()
    for (name, one), two in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, msg=name)
        assert not torch.equal(one, dict(Toy().named_parameters())[name])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adadelta"])
def test_a_step_is_torchs_own(optimizer):
    """To the bit, and without the wrapping for torch's compiler."""
    ends = []
    for step in (take_step, lambda turned: turned.step()):
        model = Toy()
        turned = build_optimizer(Training(optimizer=optimizer, learning_rate=0.01, weight_decay=0.1, momentum=0.7), model)
        for number in range(3):
            for weight in model.parameters():
                weight.grad = torch.cos(torch.arange(weight.numel()) + number).view_as(weight)
            step(turned)
        ends.append([*model.parameters()])
    assert all(torch.equal(one, two) for one, two in zip(*ends, strict=True))


def test_training_leaves_torchs_compiler_alone(tmp_path):
    """It takes a second to import."""
    toys.write(tmp_path / "toy.tsv")
    words = ["train", "toy.tsv", "tokenizer=characters", "encoder.dim=16", "decoder.dim=16", "training.steps=2", "training.evaluate_every=2", "--run", "run"]
    code = f"import sys; sys.argv = ['saccade', *{words!r}]\nfrom saccade import cli\ncli.app(standalone_mode=False)"
    code += "\nprint('torch._dynamo' in sys.modules, 'torch.optim.adam' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=CHILD, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1] == "False True", done.stderr


def test_patterns_multiply_the_rate_and_set_the_decay():
    training = Training(rates={"encoder.*": 0.5, "encoder.layers.1.*": 0.1}, decays={"*bias": 0.0, "*norm*": 0.0}, weight_decay=0.3, learning_rate=2.0)
    rates, decays = by_name(Toy(), training, "factor"), by_name(Toy(), training, "weight_decay")
    assert {name for name, factor in rates.items() if factor == 0.1} == {"encoder.layers.1.weight", "encoder.layers.1.bias"}
    assert {factor for name, factor in rates.items() if name.startswith("decoder")} == {1.0}
    assert rates["encoder.layers.0.weight"] == 0.5
    assert {name for name, decay in decays.items() if decay == 0.3} == {name for name in decays if "weight" in name and "norm" not in name}
    assert set(decays.values()) == {0.0, 0.3}
    assert by_name(Toy(), training, "lr")["encoder.layers.1.bias"] == pytest.approx(0.2)


def test_of_several_patterns_the_last_one_counts():
    assert set(by_name(Toy(), Training(rates={"encoder.layers.0.*": 0.1, "*": 0.5}), "factor").values()) == {0.5}


def test_a_shared_weight_answers_to_all_its_names():
    assert by_name(Toy(), Training(rates={"decoder.embedding*": 0.1}), "factor")["encoder.embedding.weight"] == 0.1
    assert "encoder.embedding.weight" not in by_name(Toy(), Training(freeze=("decoder.embedding.*",)), "factor")


def test_the_rate_of_every_step_is_shared_out_by_factor():
    model = Toy()
    optimizer = build_optimizer(Training(rates={"encoder.*": 0.5}, beta1=0.7, beta2=0.8), model)
    set_rates(optimizer, 0.4)
    assert [(group["lr"], group["betas"]) for group in optimizer.param_groups] == [(0.2, (0.7, 0.8)), (0.4, (0.7, 0.8))]
    set_rates(optimizer, 0.2, 0.85)
    assert [(group["lr"], group["betas"]) for group in optimizer.param_groups] == [(0.1, (0.85, 0.8)), (0.2, (0.85, 0.8))]
    sgd = build_optimizer(Training(optimizer="sgd", momentum=0.3), model)
    set_rates(sgd, 1.0)
    assert sgd.param_groups[0]["momentum"] == 0.3
    set_rates(sgd, 1.0, 0.9)
    assert sgd.param_groups[0]["momentum"] == 0.9


def test_what_is_frozen_does_not_move():
    model = Toy()
    before = copy.deepcopy(model.state_dict())
    optimizer = build_optimizer(Training(freeze=("encoder.layers.*", "decoder.norm.weight"), learning_rate=0.1), model)
    sum(weight.square().sum() + weight.sum() for weight in model.parameters()).backward()
    optimizer.step()
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert frozen == {*(f"encoder.layers.{n}.{kind}" for n in (0, 1) for kind in ("weight", "bias")), "decoder.norm.weight"}
    assert {name for name, weight in model.named_parameters() if torch.equal(weight, before[name])} == frozen


# ---- layer by layer


def test_the_rate_falls_from_layer_to_layer():
    names = ["encoder.embedding.weight", "encoder.layers.0.a.layers.7.b", "encoder.layers.1.a.weight", "encoder.norm.weight"]
    names += ["decoder.embedding.weight", "decoder.position.places.weight", "decoder.cells.0.whole.bias", "decoder.bridge.weight"]
    assert layer_factors(names, 0.5) == {
        "encoder.embedding.weight": 0.125,
        "encoder.layers.0.a.layers.7.b": 0.25,
        "encoder.layers.1.a.weight": 0.5,
        "encoder.norm.weight": 1.0,
        "decoder.embedding.weight": 0.25,
        "decoder.position.places.weight": 0.25,
        "decoder.cells.0.whole.bias": 0.5,
        "decoder.bridge.weight": 1.0,
    }
    assert layer_factors(["embedding.weight", "layers.0.bias", "output.bias"], 0.5) == {"embedding.weight": 0.25, "layers.0.bias": 0.5, "output.bias": 1.0}


def test_layers_and_patterns_multiply_and_the_lowest_name_counts():
    found = by_name(Toy(), Training(layer_decay=0.5, rates={"encoder.layers.0.*": 10.0}), "factor")
    assert (found["encoder.layers.0.bias"], found["encoder.layers.1.bias"], found["decoder.layers.0.bias"]) == (2.5, 0.5, 0.5)
    assert found["encoder.embedding.weight"] == 0.125


@pytest.mark.parametrize("recipe", ["vaswani2017", "bahdanau2015", "cmudict-spelling", "sutskever2014"])
def test_every_shipped_model_has_its_layers_and_embeddings_found(recipe):
    made = read_recipe(recipe, overrides=["training.layer_decay=0.5"])
    with torch.device("meta"):
        names = [name for name, _ in made.task().build().named_parameters(remove_duplicate=False)]
    factors = layer_factors(names, 0.5)
    for side in ("encoder", "decoder"):
        layers = {int(name.split(".")[2]) for name in names if name.split(".")[:2] in ([side, "layers"], [side, "cells"])}
        assert factors[f"{side}.embedding.weight"] == 0.5 ** (len(layers) + 1)
        lowest = next(factors[name] for name in names if name.startswith((f"{side}.layers.0.", f"{side}.cells.0.")))
        assert lowest == 0.5 ** len(layers)


# ---- refusals


def test_a_pattern_without_a_weight_is_refused():
    error = expect_refusal(Training(freeze=("encodr.*",)), "training.freeze = 'encodr.*': no weight has such a name", "did you mean encoder.*?")
    assert error.parts["look"] == [
        "encoder.embedding.weight",
        "decoder.embedding.weight",
        "encoder.layers.*.weight",
        "encoder.layers.*.bias",
        "encoder.norm.weight",
        "encoder.norm.bias",
        "decoder.layers.*.weight",
        "decoder.layers.*.bias",
        "decoder.norm.weight",
        "decoder.norm.bias",
    ]
    assert error.setting == 'training.freeze."encodr.*"'
    expect_refusal(Training(rates={"*norm*": 1.0, "zzz": 1.0}), "training.rates = 'zzz': no weight has such a name", "a pattern of these names")
    decays = Training(decays={"decoder.layer.*": 1.0})
    expect_refusal(decays, "training.decays = 'decoder.layer.*': no weight has such a name", "did you mean decoder.layers.*?")


def test_nothing_left_to_train_is_refused():
    expect_refusal(Training(freeze=("*",)), "training.freeze = ['*']: it leaves nothing to train", "fewer patterns")


def test_a_long_list_of_names_is_cut():
    with pytest.raises(UsageError) as caught, torch.device("meta"):
        weight_groups(Training(freeze=("encodr.*",)), read_recipe("vaswani2017").task().build())
    assert len(caught.value.parts["look"]) == 13
    assert caught.value.parts["look"][-1].startswith("and ")


def test_a_recipe_is_refused_before_anything_is_read(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('size = "tiny"\n[training.rates]\n"encoder.*" = 0.5\n"decoderr.*" = 0.5\n')
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    assert caught.value.headline == f"{path} line 4: training.rates = 'decoderr.*': no weight has such a name"
    turning = {"optimizer": "adadelta", "schedule": {"name": "one_cycle", "cycle_momentum": True}}
    with pytest.raises(UsageError) as caught:
        check(from_table({"training": turning}))
    assert caught.value.headline == "training.optimizer = adadelta; it has no momentum that a schedule could turn"
    assert caught.value.parts["fix"] == ["training.optimizer=adam, or training.schedule.cycle_momentum=false"]


# ---- in a run


@pytest.mark.parametrize(
    "dials",
    [
        {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.1},
        {"rates": {"encoder.*": 0.1, "*bias": 2.0}, "decays": {"*bias": 0.5}, "freeze": ["decoder.embedding*"], "layer_decay": 0.8},
        {"schedule": {"name": "cyclic", "half_cycle": 3, "cycle_momentum": True}},
    ],
    ids=["momentum", "groups", "cyclic momentum"],
)
def test_a_run_that_was_stopped_goes_on_with_the_same_numbers(tmp_path, dials):
    recipe = toys.recipe(tmp_path, training=dials)
    list(Run.begin(recipe, tmp_path / "whole").train())
    calls = iter(range(1000))
    list(Run.begin(recipe, tmp_path / "pieces").train(lambda: next(calls) >= 7))
    list(Run.open(tmp_path / "pieces").train())
    for name in ("model.safetensors", "optimizer.safetensors"):
        one, two = (checkpoints(tmp_path / folder)[-1] / name for folder in ("whole", "pieces"))
        assert one.read_bytes() == two.read_bytes()


def test_freezing_in_a_run_keeps_the_weights_it_began_with(tmp_path):
    recipe = toys.recipe(tmp_path, training={"freeze": ["encoder.*"]})
    run = Run.begin(recipe, tmp_path / "run")
    torch.manual_seed(recipe.seed)
    fresh = dict(run.task.build().named_parameters())
    list(run.train())
    trained = load_file(checkpoints(run.path)[-1] / "model.safetensors")
    assert {name for name in fresh if torch.equal(fresh[name], trained[name])} == {name for name in fresh if name.startswith("encoder.")}
