"""Search: from a decoder to sequences.  Nothing here knows what a decoder is made of."""

from .beam import Hypotheses, Search, beam_search
from .sample import Said, Sampling, Step, sample, sample_each
from .stops import Until, until

__all__ = ["Hypotheses", "Said", "Sampling", "Search", "Step", "Until", "beam_search", "sample", "sample_each", "until"]
