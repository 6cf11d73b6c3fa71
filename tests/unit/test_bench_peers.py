"""The bench beside peers: what it reads in logs, what it sets aside, and that nothing that fails is left out of the table."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.peers.__main__ import table
from bench.peers.commands import COMMANDS, JOEYNMT_RATE, OPENNMT_RATE, SOCKEYE_RATE, Command
from bench.peers.environments import ENVIRONMENTS, last_line
from bench.peers.joeynmt.times import Checked, checks, reached
from bench.peers.load import Reading, foreign_share
from bench.peers.measure import Row
from bench.peers.running import Child, Failed, Pass, follow, one_run

LOG = """\
2026-01-01 10:00:00,000 - INFO - joeynmt.training - EPOCH 1
2026-01-01 10:01:00,000 - INFO - joeynmt.training - Epoch   1, Step:       50, Batch Loss: 6.2, Batch Acc: 0.1, Tokens per Sec:      500, Lr: 0.1
2026-01-01 10:01:00,500 - INFO - joeynmt.prediction - Predicting 250 example(s)...
2026-01-01 10:02:00,000 - INFO - joeynmt.prediction - Evaluation result (greedy): bleu:  20.00, loss:   3.51, 0.1[sec]
2026-01-01 10:02:10,000 - INFO - joeynmt.training - Example #0
2026-01-01 10:02:20,000 - INFO - joeynmt.training - Epoch   1, total training loss: 1914.10, num. of seqs: 29000
2026-01-01 10:02:20,000 - INFO - joeynmt.training - EPOCH 2
2026-01-01 10:02:50,000 - INFO - joeynmt.training - Epoch   2, Step:      100, Batch Loss: 5.2, Batch Acc: 0.1, Tokens per Sec:      700, Lr: 0.1
2026-01-01 10:03:00,000 - INFO - joeynmt.prediction - Evaluation result (greedy): bleu:  30.00, loss:   3.51, 0.1[sec]
"""
TALKER = "import sys, time\nfor line in ('weights: 1,234', 'rate 9', 'rate 10', 'rate 11', 'rate 12'):\n    print(line, flush=True)\n{}\n"


def talker(ending: str) -> Command:
    """A trainer that writes a line of weights, four of speed, and then does as it is told."""
    return Command(
        "none", "transformer", "float32", ("-c", TALKER.format(ending)), lambda data: {}, re.compile(r"rate (\d+)"), re.compile(r"weights: ([\d,]+)")
    )


def run(command: Command, folder: Path, wanted: int) -> tuple[list[float], int]:
    passes, parameters = one_run(command, follow(command, sys.executable, folder, folder / "run", threads=1, limit=20.0), wanted)
    return [each.tokens_per_second for each in passes], parameters


def test_training_time_leaves_validation_out():
    # One minute before the first validation; 40 seconds from its last line to the second step.
    assert checks(LOG.splitlines()) == [Checked(50, 60.0, 20.0, 500.0), Checked(100, 100.0, 30.0, 600.0)]


def test_the_moment_of_a_bleu_is_interpolated():
    found = checks(LOG.splitlines())
    assert reached(found, 25.0) == "BLEU 25: seen after 100 s of training (update 100), interpolated 80 s"
    assert reached(found, 34.0) == "BLEU 34: not reached in 100 s of training"
    assert reached([], 34.0) == "BLEU 34: no validation yet"


@pytest.mark.parametrize(
    ("rate", "line", "expected"),
    [
        (OPENNMT_RATE, "Step  4/  200; acc: 21.0; lr: 1.00e-03; sents:     548; bsz: 3800/3392/274; 582/520 tok/s;     32 sec;", 520.0),
        (SOCKEYE_RATE, "[INFO:sockeye.training] E=0 B=4\ts/sec=16.96 tok/sec=231.57 u/sec=0.07\tppl=4867.861923", 231.57),
        (JOEYNMT_RATE, "Epoch   1, Step:        2, Batch Loss:     7.406291, Tokens per Sec:       99, Lr: 0.000707", 99.0),
    ],
)
def test_target_tokens_are_read_from_logs(rate, line, expected):
    assert float(rate.search(line)[1]) == expected


def test_a_run_drops_the_line_that_warms_up_and_stops_the_trainer(tmp_path):
    assert run(talker("time.sleep(600)"), tmp_path, wanted=3) == ([10.0, 11.0, 12.0], 1234)


def test_a_trainer_that_breaks_says_why(tmp_path):
    with pytest.raises(Failed, match=r"^only 4 lines of speed in its time$"):
        run(talker("pass"), tmp_path, wanted=4)
    broken = talker("pass")._replace(arguments=("-c", "raise ValueError('no such word')"))
    with pytest.raises(Failed, match=r"^ValueError: no such word$"):
        run(broken, tmp_path, wanted=1)


def test_a_child_that_does_not_start_says_why():
    with pytest.raises(Failed, match=r"^SystemError: not here$"):
        Child(sys.executable, ["-c", "raise SystemError('not here')"], threads=1)


def test_others_share_of_the_cores():
    before, after = Reading(0.0, 100.0, 10.0), Reading(10.0, 108.0, 15.0)
    cores = len(os.sched_getaffinity(0))
    assert foreign_share(before, after) == pytest.approx(0.3 / cores)
    assert foreign_share(before, Reading(10.0, 101.0, 15.0)) == 0.0


def row(system: str, *passes: Pass, error: str = "") -> Row:
    return Row(system, "transformer", "float32", "given", "python x", passes=list(passes), error=error)


def test_noisy_passes_are_set_aside_and_failures_stand_in_the_table():
    ours = row("saccade", Pass(100.0, 0.0), Pass(300.0, 0.08), Pass(1.0, 0.09))
    lines = table([ours, row("slow", Pass(50.0, 0.01)), row("loud", Pass(70.0, 0.5)), row("broken", error="ImportError: no")]).splitlines()
    assert ours.median == 200.0
    assert lines[1].split()[3:6] == ["200", "1.00", "x"]
    assert lines[2].split()[3:6] == ["50", "4.00", "x"]
    assert lines[3].split()[3:5] == ["~70", "-"]
    assert lines[4].endswith("did not run: ImportError: no")


def test_every_command_has_an_environment():
    assert {command.peer for command in COMMANDS} <= set(ENVIRONMENTS)


def test_the_last_line_is_the_one_that_says_something():
    assert last_line("ERROR: no such version\nWARNING: old\n\n[notice] new pip\n") == "ERROR: no such version"
    assert last_line("") == "no message"


def test_help_needs_no_torch():
    code = "import sys\nfrom bench.peers.__main__ import options\noptions().format_help()\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
