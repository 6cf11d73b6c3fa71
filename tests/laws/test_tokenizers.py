"""What every tokenizer does: text comes back, pieces say where they stand, the same lines teach the same, no text is a command."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import ModelError, UsageError
from saccade.families import find, members
from saccade.text.tokenizers import Piece, Tokenizer
from saccade.types import BOS, EOS, PAD, UNK

LINES = [
    "The cat sat on the mat, and the other cat sat on the cat.",
    "A man in a blue shirt is standing on a ladder cleaning a window.",
    "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
    "the-cat (again): 3.14 don't <s> </s> <unk> <pad> <0x41> ￭ ▁ @@ </w>",
    "日本語のテキスト मैं हिन्दी می‌خواهم \U0001f469‍\U0001f467 e\u0301",
] * 4
KNOBS: dict[str, list[dict]] = {"bpe": [{"size": 400}, {"size": 60, "style": "subword_nmt"}], "unigram": [{"size": 400}]}
MAKERS = [(name, knobs) for name in members("saccade.text.tokenizers") for knobs in KNOBS.get(name, [{}])]
NAMES = [" ".join([name, *knobs.values().__iter__().__class__ and [str(value) for value in knobs.values()]]) for name, knobs in MAKERS]
LOSSLESS = [i for i, name in enumerate(NAMES) if name.split()[0] in ("bytes", "unigram") or name == "bpe 400"]

text = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
tricky = st.lists(
    st.sampled_from(["▁", " ", "  ", "\t", "\n", "\r", "\0", "<s>", "</s>", "<0x41>", "<unk>", "⁇", "▅", "\u2028", "\u00a0", "cat", " the", "é", "e\u0301", "\U0001f600", "￭", "@@", "</w>", "ß", "."]),
    max_size=12,
).map("".join)
any_text = text | tricky
