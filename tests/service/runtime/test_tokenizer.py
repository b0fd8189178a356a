"""Texts to ids, for every script; ids to a rectangle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.runtime.artifact import ArtifactError
from service.runtime.tokenizer import Tokenizer, pad
from tests.artifacts import MAX_LENGTH, train_tokenizer

TOKENIZER = Tokenizer(train_tokenizer(), MAX_LENGTH)
TEXTS = [
    "my card was lost",
    "我的卡在哪里",
    "أين بطاقتي",
    "😀👍🏽",
    "e\u0301té",
    "ﬁne",
    "…",
    "\u3000x",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_script_becomes_ids_and_spans_of_the_text(text):
    """As many spans as ids, in order, inside the text."""
    encoding = TOKENIZER.encode(text)
    spans = TOKENIZER.spans(text)
    assert len(spans) == len(encoding.input_ids) == encoding.num_tokens
    assert all(0 <= id_ < TOKENIZER.vocab_size for id_ in encoding.input_ids)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)


def test_spans_cut_the_text_into_its_words():
    """In code points of the text as it was sent."""
    text = "the shop"
    pieces = [text[start:end] for start, end in TOKENIZER.spans(text)]
    assert "".join(pieces).replace(" ", "") == "theshop"


def test_ids_are_cut_at_max_length_and_counted_before():
    """`num_tokens` says how long the text was."""
    encoding = TOKENIZER.encode("again " * 100)
    assert len(encoding.input_ids) == MAX_LENGTH
    assert encoding.num_tokens > MAX_LENGTH
    assert len(TOKENIZER.spans("again " * 100)) == MAX_LENGTH


@pytest.mark.parametrize("text", ["", " ", "\u200b"])
def test_text_without_a_token_is_one_unknown(text):
    """So that every row has something to attend to."""
    encoding = TOKENIZER.encode(text)
    assert encoding.input_ids
    assert encoding.num_tokens <= 1
    assert len(TOKENIZER.spans(text)) == len(encoding.input_ids)


@given(st.text(max_size=80))
def test_any_text_encodes_with_matching_spans(text):
    """No text breaks it."""
    encoding = TOKENIZER.encode(text)
    assert 1 <= len(encoding.input_ids) <= MAX_LENGTH
    assert len(TOKENIZER.spans(text)) == len(encoding.input_ids)


@given(st.text(st.sampled_from("ab .é犬🤖\u0301\x7f\u200c\ufdfa…क्我"), min_size=60, max_size=400))
def test_spans_are_the_same_from_the_part_of_a_text_that_is_read(text):
    """Given the ids, the rest is not looked at: its 340,000 tokens took 0.4 s."""
    assert TOKENIZER.spans(text, TOKENIZER.encode(text).input_ids) == TOKENIZER.spans(text)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, train_tokenizer()[:-50]])
def test_bytes_that_are_no_tokenizer_are_a_sound_error(content):
    """Nothing, something else, and one that was cut: in a line."""
    with pytest.raises(
        ArtifactError, match=r"tokenizer\.model is no SentencePiece model"
    ) as caught:
        Tokenizer(content, MAX_LENGTH)
    assert "\n" not in str(caught.value)


def test_pad_makes_a_rectangle_and_a_mask():
    """Zeros on the right."""
    input_ids, attention_mask = pad([[5, 6, 7], [8]])
    np.testing.assert_array_equal(input_ids, [[5, 6, 7], [8, 0, 0]])
    np.testing.assert_array_equal(attention_mask, [[1, 1, 1], [1, 0, 0]])
    assert input_ids.dtype == attention_mask.dtype == np.int64
