"""Texts of others on a terminal."""

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.runtime.safe import guard, safe, safe_lines
from tests.nasty import COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_terminal_obeys_is_spelled_out(command):
    """Colours, titles, links, overwriting, bidi: each character can be seen, nothing is lost."""
    shown = safe(f"a{command}b")
    assert shown.isprintable()
    assert len(shown) > len(f"a{command}b")


@given(st.text(st.characters(codec=None)))
def test_no_control_bidi_or_half_character_is_left(text):
    """Whatever the text; letters of all scripts, emoji and their joiners stay."""
    shown = safe(text)
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in shown)
    assert not any(unicodedata.bidirectional(c) in _BIDI for c in shown)
    assert safe(shown) == shown
    assert safe_lines(text).replace("\n", r"\n").replace("\t", r"\t") == shown


_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.recursive(st.text() | st.integers(), st.lists))
def test_json_stays_the_same_json(value):
    """The spelling is that of JSON, so rows on stdout may be made safe as a whole."""
    assert json.loads(safe(json.dumps(value, ensure_ascii=False))) == value


@pytest.mark.parametrize(
    "text", ["naïve", "我的卡在哪里", "أين بطاقتي", "👩\u200d👧", "क\u094d\u200dष"]
)
def test_what_people_write_is_shown_as_it_is(text):
    """Joiners belong to scripts and to emoji."""
    assert safe(text) == text


def test_guarded_stream_is_the_stream_otherwise():
    """Only texts change; line breaks and tabs stay; a second guard changes nothing."""
    stream = io.StringIO()
    guarded = guard(stream)
    print("a\tb", "\x1b[31m", file=guarded)
    guarded.writelines(["\r", "\n"])
    assert stream.getvalue() == "a\tb \\u001b[31m\n\\r\n"
    assert guarded.getvalue() == stream.getvalue()
    assert guard(guarded) is guarded


def test_closed_stream_stays_closed():
    """Python has None for a stream that was closed before the start."""
    assert guard(None) is None
