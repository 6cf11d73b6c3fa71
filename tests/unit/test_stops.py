"""Stop strings never show, however the text is cut into pieces."""

import itertools
import random

import pytest

from saccade.errors import UsageError
from saccade.search import Until, until


def end(text: str, stops: list[str]) -> str:
    """Character by character: up to the first stop string that is complete."""
    for size in range(1, len(text) + 1):
        for stop in sorted(stops, key=len, reverse=True):
            if text[:size].endswith(stop):
                return text[: size - len(stop)]
    return text


def pieces(text: str, chance: random.Random) -> list[str]:
    cuts = sorted(chance.choices(range(len(text) + 1), k=chance.randrange(6)))
    return [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]


@pytest.mark.parametrize("stops", [["\n\n"], ["aab"], ["ab", "b"], ["abab", "ba"], ["a", "bbb"], []], ids=repr)
def test_the_text_up_to_the_first_stop_and_not_a_character_more(stops: list[str]) -> None:
    chance, stopped = random.Random(0), 0
    for _ in range(400):
        text = "".join(chance.choices("ab\n", k=chance.randrange(14)))
        expected, growing = end(text, stops), Until(stops)
        assert "".join(until(pieces(text, chance), stops)) == expected
        given = ""
        for place, piece in enumerate(text):
            given += growing(piece)
            assert expected.startswith(given)
            held = text[: place + 1].removeprefix(given)
            assert growing.stopped or not held or any(stop != held and stop.startswith(held) for stop in stops)  # no more than is needed is held back
        assert growing.stopped == (expected != text)
        stopped += growing.stopped
        assert given + growing.rest() == expected
    assert bool(stopped) == bool(stops)


def test_nothing_more_is_asked_for_after_a_stop() -> None:
    asked = iter(["one", " t", "wo.", "three"])
    found = until(asked, [" two"])
    assert list(found) == ["one"]
    assert list(asked) == ["three"]
    growing = Until(["x"])
    assert [growing("ax"), growing("b"), growing.rest()] == ["a", "", ""]


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        Until(["end", ""])
    assert (refused.value.code, refused.value.headline) == ("C012", "an empty stop string would stop everything")
    assert refused.value.parts["fix"] == ["leave it out, or say what to stop at"]
