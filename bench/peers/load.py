"""How much of the processor others used meanwhile: what the kernel counted as busy, less what this process and its children used."""

import os
import time
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")


class Reading(NamedTuple):
    """Seconds since some moment: by the wall, busy on the cores this process may use, and our own part of those."""

    wall: float
    busy: float
    own: float


def _busy(cores: set[int]) -> float:
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, counts[:8])
            total += user + nice + system + interrupts + soft + stolen
    return total / TICKS


def _own() -> float:
    """This process, everything below it, and what already ended below it."""
    parents, used = {}, {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:  # it ended between the listing and the reading
            continue
        number = int(place.parent.name)
        parents[number], used[number] = int(fields[1]), sum(map(int, fields[11:15]))
    ours, grown = {os.getpid()}, True
    while grown:
        found = {number for number, parent in parents.items() if parent in ours} - ours
        ours, grown = ours | found, bool(found)
    return sum(used.get(number, 0) for number in ours) / TICKS


def read() -> Reading:
    """The counters now."""
    return Reading(time.monotonic(), _busy(os.sched_getaffinity(0)), _own())


def foreign_share(before: Reading, after: Reading) -> float:
    """Between 0 and 1: the part of the cores' time that went to processes that are not ours."""
    held = (after.wall - before.wall) * len(os.sched_getaffinity(0))
    return max(0.0, after.busy - before.busy - (after.own - before.own)) / held if held else 0.0
