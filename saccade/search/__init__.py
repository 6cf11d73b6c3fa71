"""Search: from a decoder to sequences.  Nothing here knows what a decoder is made of."""

from .beam import Hypotheses, Search, beam_search

__all__ = ["Hypotheses", "Search", "beam_search"]
