"""The bench beside named peers: the same data, as near as possible the same batches, passes interleaved in one run."""
