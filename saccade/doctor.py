"""What this machine has, and what is missing."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from . import __version__
from .training.settings import pick_device, pick_precision


def examine() -> Iterator[str]:
    """Lines for people; a line that needs attention begins with !"""
    yield f"saccade {__version__}   Python {platform.python_version()}   torch {torch.__version__}   {platform.system()} {platform.machine()}"
    cpu = torch.device("cpu")
    fast = "bfloat16" if pick_precision("auto", cpu) is torch.bfloat16 else "float32"
    yield f"ok CPU        {os.cpu_count()} cores, {torch.get_num_threads()} threads, trains in {fast}"
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield f"{'ok' if free > 1 else '! '} disk       {free:.1f} GB free in {Path.cwd()}"
    device = pick_device("auto")
    yield f"ok GPU        {torch.cuda.get_device_name()}" if device.type == "cuda" else "-  GPU        none found (fine: the small recipes train on a CPU)"
    plot = importlib.util.find_spec("matplotlib") is not None
    yield "ok optional   matplotlib: pictures as PNG" if plot else "-  optional   no matplotlib: pictures as HTML only (pip install 'saccade[plot]')"
    yield "Try:  saccade demo        (offline, about two minutes)"
