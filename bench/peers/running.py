"""Processes under measurement: children that answer line by line, and trainers whose logs are read as they are written."""

import contextlib
import itertools
import json
import os
import queue
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any, NamedTuple

from .commands import Command
from .environments import ROOT, last_line
from .load import foreign_share, read


class Pass(NamedTuple):
    """One measurement: target tokens per second without padding, and the share of the cores that others had meanwhile."""

    tokens_per_second: float
    foreign: float


class Failed(Exception):
    """A peer did not run; the message is the last line that it wrote."""


def environ(threads: int) -> dict[str, str]:
    """The environment with a fixed number of threads; nothing is fetched from outside."""
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    return os.environ | offline | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


class Child:
    """A system of bench/peers/children in its own interpreter: asked, it answers; between questions it sleeps."""

    def __init__(self, python: str, arguments: list[str], threads: int) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  open for as long as the child lives
        self.process = subprocess.Popen([python, *arguments], cwd=ROOT, env=environ(threads), stdin=PIPE, stdout=PIPE, stderr=self.errors, text=True)
        try:
            self.parameters = int(self._answer()["parameters"])
        except Failed:
            self.close()
            raise

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise Failed(last_line(self.errors.read()))
        return json.loads(line)

    def ask(self, question: str) -> dict[str, Any]:
        """`pass` or `loss`; `Failed` if the child is gone."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its last words are read below
            print(question, file=self.process.stdin, flush=True)
        return self._answer()

    def one_pass(self) -> Pass:
        """Train once over the batches."""
        before = read()
        answer = self.ask("pass")
        return Pass(answer["tokens_per_second"], foreign_share(before, read()))

    def close(self) -> None:
        """End it and wait for it."""
        self.process.terminate()
        self.process.communicate()
        self.errors.close()


def follow(command: Command, python: str, data: Path, folder: Path, threads: int, limit: float) -> Generator[str, None, None]:
    """The log of a trainer, line by line, until the reader has enough, it ends, or `limit` seconds are over."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, held in command.files(data).items():
        (folder / name).write_text(json.dumps(held, indent=1))
    process = subprocess.Popen([python, *command.arguments], cwd=folder, env=environ(threads), text=True, errors="replace", stdout=PIPE, stderr=STDOUT)
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=lambda: [lines.put(line) for line in itertools.chain(process.stdout, [""])], daemon=True)
    reader.start()
    until = time.monotonic() + limit
    try:
        while (left := until - time.monotonic()) > 0:
            line = lines.get(timeout=left)
            if not line:
                return
            yield line
    except queue.Empty:
        return
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()  # one that does not heed the first signal
        process.wait()
        reader.join()
        process.stdout.close()


def one_run(command: Command, lines: Generator[str, None, None], wanted: int) -> tuple[list[Pass], int]:
    """`wanted` measurements after the first, which warms up, and the number of parameters (0 if the log does not say); `Failed` if the trainer stops before."""
    passes: list[Pass] = []
    parameters, log, before = 0, [], read()
    try:
        for line in lines:
            log.append(line)
            if found := command.parameters.search(line):
                parameters = max(parameters, int(found[1].replace(",", "")))
            if not (found := command.rate.search(line)):
                continue
            after = read()
            passes.append(Pass(float(found[1]), foreign_share(before, after)))
            before = after
            if len(passes) > wanted:
                return passes[1:], parameters
    finally:
        lines.close()
    raise Failed(why(log) if not passes else f"only {len(passes)} lines of speed in its time")


def why(log: list[str]) -> str:
    """The last line that names an error, else the last line."""
    errors = [line for line in log if re.search(r"Error|error:|Exception", line)]
    return last_line((errors or log or ["no output in its time"])[-1])
