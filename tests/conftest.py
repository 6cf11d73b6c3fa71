"""What every test starts from: one thread, one seed."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # how long an example takes depends on what else the machine does
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _fixed_ground() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
