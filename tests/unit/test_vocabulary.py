"""Vocabularies: what has which id, and that no text can ask for a special."""

import json

import pytest

from saccade.errors import ModelError
from saccade.text.vocabulary import SPECIALS, Vocabulary
from saccade.types import BOS, EOS, PAD, UNK


def test_specials_come_first() -> None:
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert Vocabulary().symbols([PAD, BOS, EOS, UNK]) == list(SPECIALS) == ["<pad>", "<s>", "</s>", "<unk>"]
    assert len(Vocabulary()) == 4
    assert len(Vocabulary("ab")) == 6


def test_most_frequent_first_and_equals_by_code_point() -> None:
    vocabulary = Vocabulary.count(["zzz", "b", "aa", "é", "\U0001f600", "b", "aa", "zzz", "zzz"])
    assert vocabulary.symbols(range(4, len(vocabulary))) == ["zzz", "aa", "b", "é", "\U0001f600"]


def test_limit_and_minimum() -> None:
    assert Vocabulary.count("abracadabra", limit=2).symbols([4, 5]) == ["a", "b"]
    assert len(Vocabulary.count("abracadabra", limit=2)) == 6
    assert len(Vocabulary.count("abracadabra", minimum=2)) == 7
    assert len(Vocabulary.count("abracadabra", minimum=9)) == 4


def test_ids_and_symbols_are_inverse_and_strangers_are_unknown() -> None:
    vocabulary = Vocabulary(["b", "a"])
    assert vocabulary.ids(["a", "b", "c"]) == [5, 4, UNK]
    assert vocabulary.symbols([5, 4, UNK]) == ["a", "b", "<unk>"]
    assert ("a" in vocabulary, "c" in vocabulary, "<s>" in vocabulary) == (True, False, False)


def test_a_text_cannot_ask_for_a_special() -> None:
    assert Vocabulary("ab").ids(SPECIALS) == [UNK] * 4
    assert sorted(Vocabulary.count(SPECIALS).ids(SPECIALS)) == [4, 5, 6, 7]


def test_json_and_back() -> None:
    vocabulary = Vocabulary(["<s>", "\u2028", "\0", "\ud800", "\U0001f600", ""])
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.symbols(range(len(again))) == vocabulary.symbols(range(len(vocabulary)))
    assert again.to_json() == vocabulary.to_json()


@pytest.mark.parametrize("state", [b"", b"\xff", b"{}", b"[1]", b'["a", "a"]', b"[" * 100000, json.dumps({"a": 1}).encode()])
def test_m011_damaged(state: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        Vocabulary.from_json(state)
    assert caught.value.render() == "error[M011] the vocabulary in this model is damaged\n  fix   copy the model again from where it came from"
