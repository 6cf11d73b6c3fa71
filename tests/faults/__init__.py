"""Fail every operation on the disk, one after the other, and see that no checkpoint is lost."""
