"""The command line: each verb is one short function around one call of the library.

stdout carries results only; progress and messages go to stderr.  Nothing here imports torch before a verb needs it.
Exit status: 0 done, 1 our bug, 2 usage, 3 data, 4 model, 5 resources, 6 diverged, 130 and 143 interrupted after saving.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .errors import SaccadeError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from .run import Model, Run
    from .search import Search

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train, run and look inside sequence models on your own data.\n\nFirst steps:  saccade demo    or    saccade train source.txt target.txt",
)

Words = Annotated[list[str], typer.Argument(help="Two parallel files, or one TSV; a recipe (.toml); settings like training.steps=2000.", show_default=False)]
RunPath = Annotated[Path, typer.Argument(help="A run directory, or a model.safetensors.", show_default=False)]
Beam = Annotated[int | None, typer.Option(min=1, help="How many hypotheses to follow; 1 is greedy.")]
Board = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard files into the run directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Results as JSON.")]


def _console(quiet: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False, quiet=quiet)


def _say(console: "Console", name: str, text: str) -> None:
    console.print(f"{name:<10} {text}", markup=False, soft_wrap=True)


@app.command()
def train(
    words: Words,
    task: Annotated[str, typer.Option(help="What to learn: saccade list tasks.")] = "translate",
    run: Annotated[Path | None, typer.Option("--run", "--directory", help="The run directory; the next free one under runs/ if left out.")] = None,
    columns: Annotated[str | None, typer.Option(help="Which two columns of a TSV: 1,2.")] = None,
    keep_first: Annotated[int | None, typer.Option(help="Use only the first N pairs of parallel files.")] = None,
    size: Annotated[str | None, typer.Option(help="tiny, small or base.")] = None,
    tensorboard: Board = False,
) -> None:
    """Train a model on your own files.

    saccade train source.txt target.txt        two files, line N of one belongs to line N of the other
    saccade train pairs.tsv                    source TAB target
    saccade train multi30k-transformer data.folder=DIR training.steps=2000
    torchrun --nproc-per-node 4 -m saccade train pairs.tsv --directory DIR        four processes; started again, they go on
    """
    from .asked import recipe_of
    from .run import Run, next_run
    from .training.distributed import environment

    rank, size_of_world, _ = environment()
    console = _console(quiet=rank > 0)
    if size_of_world > 1 and run is None:
        raise UsageError(
            "C025",
            f"{size_of_world} processes need to be told where to work together",
            fix="--directory DIR, one that all of them see (torchrun takes --run for its own)",
        )
    if run and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0" and (run / "recipe.toml").is_file():
        return resume(run)
    recipe = recipe_of(words, task, columns, keep_first, size)
    _say(console, "Reading", ", ".join(str(path) for path in recipe.data.paths("train")))
    begun = Run.begin(recipe, run or next_run(Path("runs"), task))
    _describe(console, begun)
    _finish(console, begun, tensorboard)


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="A run directory that was begun.", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings of training to change, like training.steps=9000.", show_default=False)] = None,
    allow_data_change: Annotated[bool, typer.Option(help="Go on although the data changed: their order is another one from here on.")] = False,
    no_fallback: Annotated[bool, typer.Option("--no-fallback", help="Stop if the latest checkpoint is damaged, though the one before is not.")] = False,
    tensorboard: Board = False,
) -> None:
    """Go on with a run from its latest checkpoint: the same numbers as if it had never stopped."""
    from .run import Run
    from .training.distributed import environment

    rank, processes, _ = environment()
    console = _console(quiet=rank > 0)
    begun = Run.open(run, overrides or (), alone=processes == 1, allow_data_change=allow_data_change)
    _say(console, "Resuming", f"{run} at step {begun.step:,} of {begun.recipe.training.steps:,}")
    _finish(console, begun, tensorboard, not no_fallback)


def _describe(console: "Console", begun: "Run") -> None:
    """What will be trained on what."""
    splits = begun.splits
    for warning in begun.task.warnings(splits):
        console.print(warning, markup=False, soft_wrap=True)
    aside = "" if begun.recipe.data.valid and begun.recipe.data.test else f", {begun.task.aside}"
    _say(console, "Split", f"{len(splits.train):,} train / {len(splits.valid):,} valid / {len(splits.test):,} test{aside}")
    for name, text in begun.task.summary():
        _say(console, name, text)
    _say(console, "Run", f"{begun.path}      resume any time with:  saccade resume {begun.path}")


def _finish(console: "Console", begun: "Run", tensorboard: bool, fallback: bool = True) -> None:
    """Train to the end, or to Ctrl-C; then test."""
    from .display import clock
    from .serving.report import write_report
    from .supervise import final_test, follow
    from .training.distributed import environment
    from .training.trackers import TensorBoard

    alone = environment()[0] == 0
    last = follow(console, begun, trackers=[TensorBoard(begun.path / "tensorboard")] if tensorboard and alone else [], fallback=fallback)
    if not alone:
        return
    console.print(f"ok  done in {clock(last.seconds)}", markup=False)
    if scores := final_test(begun):
        console.print(f"test  {scores}", markup=False, soft_wrap=True)
    console.print(f"  look   {write_report(begun.path)}", markup=False, soft_wrap=True)
    for name, words in zip(("next", ""), begun.task.tries):
        console.print(f"  {name:<6} saccade predict {begun.path} {words}", markup=False, soft_wrap=True)


@app.command(name="test")
def score(
    run: RunPath,
    files: Annotated[list[Path] | None, typer.Argument(help="Other test data: two parallel files, or one TSV.", show_default=False)] = None,
    beam: Beam = None,
    as_json: AsJson = False,
) -> None:
    """Score a model, on the run's own test data or on other files; prints each score with its signature."""
    from .run import held_out, load

    model = load(run)
    pairs = model.task.read_files(files) if files else held_out(run)
    scores = model.test(pairs, search=_search(model, beam))
    if as_json:
        print(json.dumps([score._asdict() for score in scores]))
    for score in scores if not as_json else ():
        print(f"{score}   {score.signature}")


@app.command()
def predict(
    run: RunPath,
    texts: Annotated[list[str] | None, typer.Argument(help="Texts, or files of texts; stdin, one text per line, if left out.", show_default=False)] = None,
    beam: Beam = None,
    n_best: Annotated[int, typer.Option(min=1, help="How many answers to each text.")] = 1,
    scores: Annotated[bool, typer.Option("--scores", help="Add each answer's log-probability.")] = False,
    prefix: Annotated[str, typer.Option(help="How every answer must begin.")] = "",
    length: Annotated[int, typer.Option(help="Language models: how many symbols to say at most.")] = 200,
    temperature: Annotated[float, typer.Option(help="Language models: below 1 bolder, 0 always the likeliest symbol.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Language models: draw from the K likeliest symbols only; 0 from all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Language models: draw from the fewest symbols that hold this probability.")] = 1.0,
    typical: Annotated[float, typer.Option(help="Language models: draw from the most typical symbols that hold this probability.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Language models: another seed, another text.")] = 1,
    stop: Annotated[list[str] | None, typer.Option(help="Language models: end before this text; again for more.", show_default=False)] = None,
    samples: Annotated[int, typer.Option(help="Language models: how many continuations.")] = 1,
    explain: Annotated[bool, typer.Option("--explain", help="Language models: probability, rank, entropy and alternatives of every symbol said.")] = False,
    attention: Annotated[Path | None, typer.Option(help="Draw where the model looked: .html, .png or .json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answer texts: one line in, one line out (with --n-best: rank TAB answer); a language model goes on with them.

    saccade predict RUN "ROMEO:" --temperature 0.8 --stop "JULIET"        a language model continues, and prints while it does
    """
    from .prompting import Wanted, continue_prompts
    from .run import load
    from .search import Sampling
    from .text.stream import chunks

    model = load(run)
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, typical=typical, seed=seed, longest=length)
    if model.task.continues:
        _refuse("goes on with a prompt and draws what it says", "--samples 3", {"beam": beam, "n-best": n_best > 1, "scores": scores})
        return continue_prompts(model, texts or [], prefix, Wanted(sampling, stop or [], samples, explain, as_json, attention))
    drawing = {"length": length != 200, "seed": seed != 1, "temperature": temperature != 1, "top-k": top_k != 0, "top-p": top_p != 1, "typical": typical != 1}
    _refuse("answers, and draws nothing", "--n-best 3", {**drawing, "stop": stop, "samples": samples != 1, "explain": explain})
    search = _search(model, max(beam or model.recipe.search.beam, n_best))
    looks = []
    for chunk in chunks(texts or [], sys.stdin.buffer, 1 if sys.stdin.isatty() else 1024):
        for answer in model.predict(chunk, search=search, prefixes=[prefix] * len(chunk) if prefix else None):
            if attention:
                looks.append(answer.attention)
            for rank, said in enumerate(answer.alternatives[:n_best], 1):
                if as_json:
                    record = {"source": answer.source, "rank": rank, "text": said.text, "score": said.score, "complete": said.complete}
                    print(json.dumps(record, ensure_ascii=False))
                else:
                    print("\t".join([str(rank)] * (n_best > 1) + [said.text.replace("\n", " ")] + [f"{said.score:.4f}"] * scores))
        sys.stdout.flush()
    if attention:
        from .serving.picture import write

        for path in write(looks, attention):
            print(f"wrote {path}", file=sys.stderr)


@app.command(name="score")
def score_of_texts(
    run: RunPath,
    texts: Annotated[list[str] | None, typer.Argument(help="Texts, or files of texts; stdin if left out.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """How likely a language model finds a text: the log-probability (nats) of every symbol, one a line; the sum goes to stderr."""
    from .prompting import score_texts
    from .run import load

    score_texts(load(run), texts or [], as_json)


def _refuse(because: str, instead: str, given: dict[str, Any]) -> None:
    """`UsageError` C026 if an option was given that means nothing to a model."""
    for name in (name for name, value in given.items() if value):
        raise UsageError("C026", f"--{name} is not for this model: it {because}", fix=f"leave it out, or {instead}")


def _search(model: "Model", beam: int | None) -> "Search":
    from dataclasses import replace

    return replace(model.recipe.search, beam=beam) if beam else model.recipe.search


@app.command(name="list")
def list_(family: Annotated[str, typer.Argument(help="recipes, encoders, decoders, scores ...: saccade list tells.")] = "") -> None:
    """What there is to choose from: families, or the members of one with their settings."""
    from .listing import listing

    for line in listing(family):
        print(line)


@app.command()
def show(what: Annotated[str, typer.Argument(help="A run directory, a model.safetensors, or a recipe.", show_default=False)]) -> None:
    """Every setting of a run, a model or a recipe, and what is known about it."""
    path = Path(what)
    if path.is_dir() or path.suffix == ".safetensors":
        from .run import load

        model = load(path, device="cpu")
        weights = sum(weight.numel() for weight in model.network.parameters())
        print(f"# saccade {model.about['version']}, step {model.about['step']:,}, {weights:,} weights")
        for score in model.about["valid"]:
            print(f"# valid {score['name']} {score['value']:.2f}  {score['signature']}")
        print(model.recipe.to_toml(), end="")
    else:
        from .recipe import read_recipe

        print(read_recipe(path).to_toml(), end="")


@app.command()
def demo(folder: Annotated[Path, typer.Option(help="Where to put data, model and picture.")] = Path("saccade-demo")) -> None:
    """Teach a small model to read dates in many languages: offline, about two minutes on two cores."""
    from .demo import run_demo

    run_demo(folder, _console())


@app.command()
def doctor() -> None:
    """What this machine has, and what is missing."""
    from .doctor import examine

    for line in examine():
        print(line)


@app.command()
def tune(
    words: Words,
    task: Annotated[str, typer.Option(help="What to learn: saccade list tasks.")] = "translate",
    trials: Annotated[int, typer.Option(help="How many, those of earlier calls included.")] = 20,
    timeout: Annotated[str | None, typer.Option(help="Stop after 90s, 30m or 1h; the running trial goes on next time.", show_default=False)] = None,
    search: Annotated[list[str] | None, typer.Option(help="NAME=LOW..HIGH [log | step N], or NAME=A|B|C; again for more.", show_default=False)] = None,
    study: Annotated[Path, typer.Option(help="The folder of the trials.")] = Path("tune"),
    pruner: Annotated[str, typer.Option(help="Who stops trials that fall behind: median, hyperband or none.")] = "median",
    as_json: AsJson = False,
) -> None:
    """Search for better settings of a recipe: saccade tune RECIPE --search 'training.learning_rate=1e-4..1e-2 log'."""
    from .asked import recipe_of
    from .supervise import signals
    from .tune import run_tune

    recipe = recipe_of(words, task, None, None, None)
    with signals() as caught:
        run_tune(recipe, search or [], study, trials, timeout, pruner, _console(), as_json, lambda: bool(caught))
    if caught:
        raise typer.Exit(128 + caught[0])


@app.command(name="range-test")
def range_test(
    words: Words,
    task: Annotated[str, typer.Option(help="What to learn: saccade list tasks.")] = "translate",
    low: Annotated[float, typer.Option(help="The first rate.")] = 1e-7,
    high: Annotated[float, typer.Option(help="The last rate.")] = 1.0,
    steps: Annotated[int, typer.Option(help="How many updates.")] = 200,
    linear: Annotated[bool, typer.Option("--linear", help="Let the rate rise in equal steps (Smith 2017) instead of equal factors.")] = False,
    folder: Annotated[Path, typer.Option(help="Where to write the plot and the numbers.")] = Path("."),
) -> None:
    """Find a learning rate: one short training in which the rate rises, with a plot of the loss; takes what saccade train takes."""
    from .asked import recipe_of
    from .serving.chart import write_range_test
    from .training.range_test import range_test

    recipe = recipe_of(words, task, None, None, None)
    made = recipe.task()
    splits = made.read(recipe.data)
    made.learn(splits)
    found = range_test(made, splits, recipe.training, seed=recipe.seed, low=low, high=high, steps=steps, rise="linear" if linear else "exponential")
    for name, rate in (("steepest", found.steepest), ("a tenth of the best", found.tenth), ("cycle, low", found.low), ("cycle, high", found.high)):
        print(f"{name:<20} {'none' if rate is None else f'{rate:.3g}'}")
    for path in write_range_test(found, folder):
        print(f"wrote {path}", file=sys.stderr)


@app.command(name="export")
def export_(run: RunPath, path: Annotated[Path, typer.Argument(help="A file to write: model.arpa, or vectors.vec.", show_default=False)]) -> None:
    """Write for other programs: an n-gram model as ARPA (SRILM, KenLM), word vectors as text (word2vec, gensim)."""
    from .exchange import export_model
    from .run import load

    export_model(load(run, device="cpu"), path)


@app.command(name="import")
def import_(
    path: Annotated[Path, typer.Argument(help="An n-gram model of another program: model.arpa.", show_default=False)],
    model: Annotated[Path, typer.Argument(help="The model to write: model.safetensors.", show_default=False)],
) -> None:
    """Make a model of what another program wrote, to be tested, scored with and continued like any other."""
    from .exchange import import_model

    import_model(path, model)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)]) -> None:
    """Write RUN/report.html: scores, curves, the worst sentences and every setting, on one page."""
    from .serving.report import write_report

    print(write_report(run))


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"saccade {__version__}")
        raise typer.Exit


def main() -> None:
    """The entry point: errors become messages and exit statuses."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app(prog_name="saccade")
    except SaccadeError as error:
        if os.environ.get("SACCADE_JSON_ERRORS"):
            print(json.dumps(error.as_dict()), file=sys.stderr)
        else:
            print(error.render(), file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
