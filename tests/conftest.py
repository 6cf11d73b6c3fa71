"""What every test starts from: one thread, one seed."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


@pytest.fixture(autouse=True)
def _fixed_ground() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
