"""Peers that are driven by their own trainers: configuration files, command lines, and where their logs say how fast they are.

They read the table's corpus and vocabulary and make their own batches of 4,096 tokens.
"""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

EVERY = 2
"""Updates between two lines of a log."""
UPDATES = 200
"""More than are ever read: the trainer is stopped after the lines that are wanted."""


class Command(NamedTuple):
    """One trainer on one configuration."""

    peer: str
    """The environment that it runs in."""
    configuration: str
    precision: str
    arguments: tuple[str, ...]
    """After the interpreter, run in the folder that `files` writes to."""
    files: Callable[[Path], dict[str, Any]]
    """Given the folder of the data: what must stand in files beside it (JSON, which is YAML)."""
    rate: re.Pattern[str]
    """In a line of the log: group 1 is target tokens per second, without padding."""
    parameters: re.Pattern[str] = re.compile(r"(?:number of parameters|Total params|parameters): *([\d,]+)")


ADAM = {"optim": "adam", "adam_beta2": 0.98, "learning_rate": 0.001, "max_grad_norm": 1.0, "label_smoothing": 0.1}
BATCHES = {"batch_type": "tokens", "batch_size": 4096, "normalization": "tokens", "bucket_size": 29000, "num_workers": 0, "train_steps": UPDATES}
QUIET = {"report_every": EVERY, "seed": 1, "overwrite": True}
DROPOUT = {"dropout": [0.1], "attention_dropout": [0.1]}
TRANSFORMER = {"layers": 3, "heads": 4, "hidden_size": 256, "transformer_ff": 1024}
TIED = {"share_embeddings": True, "share_decoder_embeddings": True}
OPENNMT_RATE = re.compile(r"Step +\d+/.*?\d+/ *(\d+) tok/s")


def _corpus(data: Path) -> dict[str, Any]:
    vocabulary = str(data / "vocabulary.txt")
    pairs = {"corpus": {"path_src": str(data / "train.source"), "path_tgt": str(data / "train.target"), "transforms": []}}
    return {"data": pairs, "src_vocab": vocabulary, "tgt_vocab": vocabulary, "share_vocab": True, "save_data": "saved"}


def eole(model: dict[str, Any], compute: str) -> Callable[[Path], dict[str, Any]]:
    """One file of settings for `eole train`."""
    training = ADAM | BATCHES | DROPOUT | {"decay_method": "none", "compute_dtype": compute, "world_size": 1, "gpu_ranks": [], "model_path": "model"}
    training |= {"save_checkpoint_steps": 100000, "valid_steps": 100000, "bucket_size_init": -1}
    return lambda data: {"settings.yaml": _corpus(data) | QUIET | {"training": training, "model": model | TIED}}


def opennmt(model: dict[str, Any]) -> Callable[[Path], dict[str, Any]]:
    """One file of settings for `onmt_train`."""
    rest = {"decay_method": "none", "save_model": "model", "world_size": 1, "gpu_ranks": [], "save_checkpoint_steps": 100000, "valid_steps": 100000}
    rest |= {"src_vocab_size": 8000, "tgt_vocab_size": 8000}
    return lambda data: {"settings.yaml": _corpus(data) | QUIET | ADAM | BATCHES | DROPOUT | TIED | rest | model}


def joeynmt(configuration: str) -> Callable[[Path], dict[str, Any]]:
    """One file of settings for `joeynmt train`: the model and the training of the table's other row of JoeyNMT."""
    same = json.loads((Path(__file__).parent / "joeynmt" / "models.json").read_text())
    side = {"level": "word", "lowercase": False, "normalize": False}
    training = same["training"] | {"batch_type": "token", "epochs": 100, "updates": UPDATES, "logging_freq": EVERY, "validation_freq": 100000}

    def files(data: Path) -> dict[str, Any]:
        voc = {"voc_file": str(data / "vocabulary.txt")}
        corpus = {
            "train": str(data / "train"),
            "dev": str(data / "train"),
            "sample_dev_subset": 10,
            "dataset_type": "plain",
            "special_symbols": same["specials"],
        }
        corpus |= {"src": side | voc | {"lang": "source"}, "trg": side | voc | {"lang": "target"}}
        whole = {"name": "bench", "joeynmt_version": "2.3.0", "model_dir": "model", "use_cuda": False, "random_seed": 1, "data": corpus}
        return {"settings.yaml": whole | {"training": training, "testing": {}, "model": same["models"][configuration]}}

    return files


def sockeye(data: Path) -> dict[str, Any]:
    """Its vocabulary as a file; the rest stands on the command line."""
    words = [*("<pad>", "<unk>", "<s>", "</s>"), *(data / "vocabulary.txt").read_text().split()]
    return {"vocabulary.json": {word: number for number, word in enumerate(words)}}


SOCKEYE = """
    --shared-vocab --use-cpu --overwrite-output --output model --quiet-secondary-workers --max-updates 200 --checkpoint-interval 100000
    --num-layers 3 --transformer-model-size 256 --transformer-attention-heads 4 --transformer-feed-forward-num-hidden 1024
    --weight-tying-type src_trg_softmax --batch-type max-word --batch-size 4096 --bucket-width 4 --max-seq-len 99
    --label-smoothing 0.1 --optimizer adam --optimizer-betas 0.9:0.98 --initial-learning-rate 0.001 --learning-rate-scheduler-type none
    --gradient-clipping-type norm --gradient-clipping-threshold 1.0 --embed-dropout 0.1:0.1 --seed 1
    --source-vocab vocabulary.json --target-vocab vocabulary.json
    --source ../train.source --target ../train.target --validation-source ../few.source --validation-target ../few.target
"""
RECURRENT = {"layers": 1, "word_vec_size": 256, "rnn_type": "LSTM", "global_attention": "general"}
EOLE_TRANSFORMER = TRANSFORMER | {
    "architecture": "transformer",
    "embeddings": {"word_vec_size": 256, "position_encoding_type": "SinusoidalInterleaved"},
    **dict.fromkeys(("add_qkvbias", "add_ffnbias", "add_final_linear_bias", "generator_bias"), True),
}
# In eole and OpenNMT-py one hidden size serves both sides, and a bidirectional encoder has half of it for each direction.
EOLE_RECURRENT = {
    "architecture": "rnn",
    "embeddings": {"word_vec_size": 256},
    "input_feed": 1,
    "hidden_size": 256,
    "encoder": {"encoder_type": "brnn", "layers": 1, "hidden_size": 256, "rnn_type": "LSTM", "bridge": True},
    "decoder": {"decoder_type": "rnn", "layers": 1, "hidden_size": 256, "rnn_type": "LSTM", "global_attention": "general"},
}
OPENNMT_TRANSFORMER = TRANSFORMER | {"encoder_type": "transformer", "decoder_type": "transformer", "position_encoding": True, "word_vec_size": 256}
OPENNMT_RECURRENT = RECURRENT | {"encoder_type": "brnn", "decoder_type": "rnn", "input_feed": 1, "hidden_size": 256, "bridge": True}
EOLE, ONMT = ("-m", "eole.bin.main", "train", "--config", "settings.yaml"), ("-m", "onmt.bin.train", "-config", "settings.yaml")
JOEYNMT, JOEYNMT_RATE = ("-m", "joeynmt", "train", "settings.yaml", "--skip-test"), re.compile(r"Tokens per Sec: +(\d+)")
SOCKEYE_RATE, SOCKEYE_WEIGHTS = re.compile(r"tok/sec=([\d.]+)"), re.compile(r"\| trainable: (\d+)")

COMMANDS = (
    Command("eole", "transformer", "bfloat16", EOLE, eole(EOLE_TRANSFORMER, "bf16"), OPENNMT_RATE),
    Command("opennmt", "transformer", "float32", ONMT, opennmt(OPENNMT_TRANSFORMER), OPENNMT_RATE),
    Command("sockeye", "transformer", "float32", ("-m", "bench.peers.sockeye_start", *shlex.split(SOCKEYE)), sockeye, SOCKEYE_RATE, SOCKEYE_WEIGHTS),
    Command("joeynmt", "transformer", "float32", JOEYNMT, joeynmt("transformer"), JOEYNMT_RATE),
    Command("eole", "recurrent", "bfloat16", EOLE, eole(EOLE_RECURRENT, "bf16"), OPENNMT_RATE),
    Command("opennmt", "recurrent", "float32", ONMT, opennmt(OPENNMT_RECURRENT), OPENNMT_RATE),
    Command("joeynmt", "recurrent", "float32", JOEYNMT, joeynmt("recurrent"), JOEYNMT_RATE),
)
