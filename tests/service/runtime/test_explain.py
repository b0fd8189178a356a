"""Token weights to word weights: numbers checked by hand, and what holds for any text."""

import time

import orjson
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from service.runtime.explain import explain, words
from service.runtime.tokenizer import Tokenizer
from tests.artifacts import MAX_LENGTH, train_tokenizer

UNSEEN = regex.compile(r"[\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]*")
TOKENIZER = Tokenizer(train_tokenizer(), MAX_LENGTH)


def cut(text: str) -> list[str]:
    """The words themselves."""
    return [text[start:end] for start, end in words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I can't pay, sorry!", ["I", "can't", "pay", ",", "sorry", "!"]),
        ("l\u2019état 3,5", ["l\u2019état", "3", ",", "5"]),
        ("我的卡 card", ["我", "的", "卡", "card"]),
        ("أين بطاقتي؟", ["أين", "بطاقتي", "؟"]),
        ("ok 👍🏽 👨‍👩‍👧", ["ok", "👍🏽", "👨‍👩‍👧"]),
        ("🇩🇪🇫🇷\u0301🇮🇹🇪", ["🇩🇪", "🇫🇷\u0301", "🇮🇹", "🇪"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("ก็ไม่", ["ก็", "ไ", "ม่"]),
        ("  ", []),
        ("a\x7f\u200cb\u2060", ["a", "b"]),
        ("\u06005", ["\u06005"]),
    ],
)
def test_words_of_every_script(text, expected):
    """Runs of letters; single characters where no spaces are written; everything visible."""
    assert cut(text) == expected


@pytest.mark.parametrize("unit", ["🇩🇪", "e\u0301", "👩\u200d", "卡", "क्", "a'", "., ", "\u0301"])
def test_time_grows_with_the_text_and_not_with_its_square(unit):
    """The longest text that is taken: 20 ms. A run of flags once took 2 s."""
    text = (unit * 20_000)[:20_000]
    started = time.perf_counter()
    assert words(text)
    assert time.perf_counter() - started < 0.5


def test_weights_of_the_tokens_of_a_word_add_up():
    """Two tokens in one word, one in the other."""
    result = explain("lost card", [(0, 2), (2, 4), (4, 9)], [0.2, 0.3, 0.5])
    assert [(word.text, pytest.approx(word.weight)) for word in result] == [
        ("lost", 0.5),
        ("card", 0.5),
    ]


def test_token_over_several_words_is_shared_out_by_characters():
    """`a,` of one token: half each; three of four characters are worth three quarters."""
    assert [w.weight for w in explain("a,", [(0, 2)], [1.0])] == [0.5, 0.5]
    assert [w.weight for w in explain("abc!", [(0, 4)], [1.0])] == [0.75, 0.25]


def test_truncated_words_are_not_listed():
    """A word is, whole, if a token reaches its first character; the rest sums to 1."""
    result = explain("one twofold three", [(0, 3), (3, 7)], [0.3, 0.1])
    assert [(word.text, pytest.approx(word.weight)) for word in result] == [
        ("one", 0.75),
        ("twofold", 0.25),
    ]
    assert [word.text for word in explain("one two", [(0, 4)], [1.0])] == ["one"]


def test_words_are_json_as_they_are():
    """Without a dict for each: a long text has thousands."""
    (word,) = explain("one", [(0, 3)], [1.0])
    assert orjson.dumps(word) == b'{"start":0,"end":3,"text":"one","weight":1.0}'


def test_weight_on_nothing_visible_is_even_over_the_words():
    """If only blanks got weight, no word counted more than another."""
    result = explain("a b", [(0, 1), (1, 2), (2, 3)], [0.0, 1.0, 0.0])
    assert [word.weight for word in result] == [0.5, 0.5]


@pytest.mark.parametrize("text", [" ", "\x85\u200c", "\x7f" * 20_000])
def test_text_of_which_nothing_can_be_seen_is_one_word(text):
    """So that its weights sum to 1 too; a word a character was 88 MB of answer once."""
    spans = TOKENIZER.spans(text)
    (word,) = explain(text, spans, [0.0] * len(spans))
    assert (word.text, word.weight) == (text, 1.0)


def test_words_that_one_token_covers_are_told_apart_up_to_four():
    """More are one: the model read them as one, and answers are bounded by its tokens."""
    assert len(explain("犬猫鳥魚", [(0, 4)], [1.0])) == 4
    (word,) = explain("犬猫鳥魚牛", [(0, 5)], [1.0])
    assert (word.text, word.weight) == ("犬猫鳥魚牛", 1.0)
    texts = [word.text for word in explain("ab !!!!! cd", [(0, 2), (2, 8), (8, 11)], [0.2] * 3)]
    assert texts == ["ab", "!!!!!", "cd"]


@pytest.mark.parametrize(
    "unit",
    [
        "\x7f",
        "\ufdfa",
        "🤖",
        "犬",
        "犬a",
        "…",
        "e\u0301",
        "\u200c",
        "\ue000",
        "\U000e0301",
        "🤖🤖🤖🤖a",
    ],
)
def test_words_are_bounded_by_tokens_whatever_the_text(unit):
    """At most five for each token, of 20,000 characters."""
    text = (unit * 20_000)[:20_000]
    spans = TOKENIZER.spans(text, TOKENIZER.encode(text).input_ids)
    result = explain(text, spans, [1.0] * len(spans))
    assert 1 <= len(result) <= 5 * len(spans)
    assert sum(word.weight for word in result) == pytest.approx(1.0)


def cover(text: str) -> str:
    """What can be seen of it."""
    return "".join(cut(text))


@given(st.text(max_size=60))
def test_words_never_overlap_and_cover_everything_visible(text):
    """In order; what lies between is white space, a control, or has no width."""
    end_before = 0
    for start, end in words(text):
        assert end_before <= start < end <= len(text)
        assert UNSEEN.fullmatch(text[end_before:start])
        end_before = end
    assert UNSEEN.fullmatch(text[end_before:])


@given(st.text(max_size=60), st.data())
def test_weights_sum_to_one_and_spans_cut_the_text(text, data):
    """With the spans of a real tokenizer and any weights."""
    spans = TOKENIZER.spans(text, TOKENIZER.encode(text).input_ids)
    share = st.floats(0.0, 1.0, allow_subnormal=False)
    weights = data.draw(st.lists(share, min_size=len(spans), max_size=len(spans)))
    result = explain(text, spans, weights)
    listed = result[-1].end
    assert "".join(cover(word.text) for word in result) == cover(text[:listed])
    assert UNSEEN.fullmatch(text[listed : spans[-1][1]])
    assert len(result) <= 5 * len(spans)
    assert all(text[word.start : word.end] == word.text for word in result)
    assert all(word.weight >= 0.0 for word in result)
    assert sum(word.weight for word in result) == pytest.approx(1.0)
