"""sockeye's trainer, unchanged but for its log: a line every 2 updates, not 50, that counts target tokens without padding, not padded source cells.

Run in sockeye's environment, with the arguments of sockeye-train.
"""

from dataclasses import replace
from typing import Any

from sockeye import constants, data_io, train

as_it_is = data_io.create_batch_from_parallel_sample


def counted(*arguments: Any) -> data_io.Batch:
    """The same batch with the count that the table uses: as many symbols are to be said as are read, BOS for EOS."""
    batch = as_it_is(*arguments)
    return replace(batch, tokens=int(batch.target_length.sum()))


if __name__ == "__main__":
    data_io.create_batch_from_parallel_sample = counted
    constants.MEASURE_SPEED_EVERY = 2
    train.main()
