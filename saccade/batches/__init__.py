"""From ids to batches: in which order the data is read, and which examples share a batch."""
