"""The order of the data: a pure function of (seed, epoch), so that resuming needs only numbers and no generator's state."""

import numpy as np

from ..errors import UsageError


def permutation(seed: int, epoch: int, size: int, *, stream: int = 0) -> np.ndarray:
    """The order in which `size` examples are read in one epoch: int64, shape (size,), every index once.

    Different `stream`s of one (seed, epoch) are independent orders.  No global generator is read or moved.  It takes 16 bytes
    an example, and while it is made 24: 2 seconds for 10 million, about 2.4 GB for 100 million.
    `UsageError` C012 if seed or epoch is negative.
    """
    for name, value in (("seed", seed), ("epoch", epoch)):
        if value < 0:
            raise UsageError("C012", f"{name} = {value}; it must be at least 0", fix=f"{name}=0")
    # Sorting the raw words instead of calling Generator.permutation: NumPy keeps the words the same for ever, the method's use of them not.
    # The spawn key keeps the three numbers apart, where a plain list [seed, epoch, 0] would equal [seed, epoch].
    words = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(epoch, stream))).random_raw(size)
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)
