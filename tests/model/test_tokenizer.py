"""The trained vocabulary: any script, any size of data."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.columns import DataError
from model.config import TokenizerConfig
from model.tokenizer import train_tokenizer
from service.runtime.artifact import PAD_TOKEN_ID, UNKNOWN_TOKEN_ID
from service.runtime.tokenizer import Tokenizer

CONFIG = TokenizerConfig()
TEXTS = {
    "chinese": ["我的卡在哪里", "卡片还没有到", "我想退款", "请告诉我余额"],
    "arabic": ["أين بطاقتي", "أريد استرداد المال", "لم تصل الرسالة بعد"],
    "emoji": ["😀 😡 👍🏽", "👩‍👩‍👧 ❤️ 🇩🇪", "🎉🎉🎉 😀"],
    "thai": ["บัตรของฉันอยู่ที่ไหน", "ฉันต้องการเงินคืน"],
    "mixed": ["my card 我的卡 بطاقتي 😀", "where is it? 在哪里 أين 🤷", "ÄÖÜ straße №5 ½"],
}
ALL_TEXTS = [text for texts in TEXTS.values() for text in texts]


def trained(texts: list[str], config: TokenizerConfig = CONFIG, max_length: int = 64) -> Tokenizer:
    """A tokenizer of these texts."""
    return Tokenizer(train_tokenizer(texts, config), max_length)


@pytest.mark.parametrize("script", TEXTS)
def test_every_script_is_learned(script):
    """Its own texts are encoded with hardly an unknown."""
    tokenizer = trained(TEXTS[script] * 5)
    for text in TEXTS[script]:
        ids = tokenizer.encode(text).input_ids
        assert ids.count(UNKNOWN_TOKEN_ID) <= len(ids) / 10


def test_scripts_together_are_learned():
    """One vocabulary for all of them, in which each text stays itself."""
    tokenizer = trained(ALL_TEXTS * 5)
    encoded = [tuple(tokenizer.encode(text).input_ids) for text in ALL_TEXTS]
    assert len(set(encoded)) == len(ALL_TEXTS)
    assert all(ids.count(UNKNOWN_TOKEN_ID) < len(ids) / 4 for ids in encoded)


def test_script_unseen_in_training_is_unknown_not_an_error():
    """A service gets texts that training never saw."""
    assert set(trained(["plain words only"]).encode("我的卡").input_ids) >= {UNKNOWN_TOKEN_ID}


@pytest.mark.parametrize(
    "texts",
    [
        ["good", "bad"],
        ["a", "b"],
        ["a"],
        ["好", "坏"],
        ["😀", "😡"],
        ["1", "2", "3"],
        ["x" * 5_000, "y"],
        ["\u200b", "a"],
        ["a\n b", " a  b\t"],
        ["ﷺ", "㍿"],
    ],
)
def test_small_data_does_not_fail(texts):
    """Two short rows, one-character texts: a small vocabulary, not an error."""
    tokenizer = trained(texts)
    assert tokenizer.vocab_size >= 3
    assert all(tokenizer.encode(text).input_ids for text in texts)


RESERVED = [
    "\u2585",
    "\u2581",
    "\t",
    "<unk>",
    "<pad>",
    "<s>",
    "\ufffd",
    "\ue000",
    "\uffff",
    "\u0301",
]


@pytest.mark.parametrize("reserved", RESERVED)
def test_no_row_is_left_out_for_a_reserved_character(reserved):
    """Every word beside it is learned: the trainer drops lines that hold U+2585."""
    tokenizer = trained([f"where {reserved} card", f"lost{reserved}parcel {reserved}"] * 5)
    for word in ("where", "card", "lost", "parcel"):
        assert UNKNOWN_TOKEN_ID not in tokenizer.encode(word).input_ids


def test_spans_of_a_text_with_reserved_characters_are_its_own():
    """Training makes them blanks; in a text that is classified they keep their place."""
    tokenizer = trained(["where \u2585 card"] * 5)
    text = "\u2585 card \u2585where"
    spans = tokenizer.spans(text)
    assert len(spans) == len(tokenizer.encode(text).input_ids)
    covered = "".join(text[start:end] for start, end in spans)
    assert "".join(covered.split()) == "".join(text.split())


@pytest.mark.parametrize(
    "text", ["\u2585", "\u2581", "\u200b", "\x01", "\ufffd", "\u2581\u2585 \x7f"]
)
def test_texts_without_a_visible_character_are_one_line_of_error(text):
    """Not what SentencePiece raises."""
    with pytest.raises(DataError, match=r"^no vocabulary can be learned"):
        trained([text, text * 2])


def test_same_texts_same_bytes():
    """The tokenizer is a part of what the seed must decide."""
    first, second = (train_tokenizer(ALL_TEXTS * 3, CONFIG) for _ in range(2))
    assert first == second


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    texts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=40),
    vocab_size=st.integers(64, 120),
)
def test_any_texts_give_a_vocabulary_within_the_limit(texts, vocab_size):
    """Whatever the characters; at least one row is readable, as in every file that was accepted."""
    tokenizer = trained(["readable", *texts], TokenizerConfig(vocab_size=vocab_size))
    assert tokenizer.vocab_size <= vocab_size


@pytest.mark.parametrize("characters", [60, 200, 5_000])
def test_vocabulary_stays_below_the_limit_for_large_alphabets(characters):
    """The most frequent characters get an id, the rest are unknown."""
    alphabet = [chr(0x4E00 + number) for number in range(characters)]
    texts = ["".join(alphabet[start : start + 10]) for start in range(0, characters, 10)]
    tokenizer = trained([*texts, "我的卡" * 50, "我的" * 50], TokenizerConfig(vocab_size=128))
    assert tokenizer.vocab_size <= 128
    assert UNKNOWN_TOKEN_ID not in tokenizer.encode("我的卡").input_ids


def test_vocabulary_grows_with_the_data():
    """Rare pieces learn nothing: few characters, few ids."""
    words = [f"{a}{b}{c}ing {c}{a}{b}ed" for a in "bcdfgh" for b in "aeiou" for c in "klmnpqrst"]
    few = trained(words[:40], TokenizerConfig(characters_per_id=2.0)).vocab_size
    many = trained(words * 10, TokenizerConfig(characters_per_id=2.0)).vocab_size
    assert few < many


def test_case_and_width_are_folded():
    """Full-width and capital letters are the letters."""
    tokenizer = trained(["where is my card", "card lost"] * 5)
    assert tokenizer.encode("ＣＡＲＤ") == tokenizer.encode("card") == tokenizer.encode("Card")


def test_ids_of_padding_and_unknown_are_the_artifacts():
    """No text is ever encoded as padding."""
    tokenizer = trained(["a b c", "<pad> <unk>"] * 5)
    assert PAD_TOKEN_ID not in tokenizer.encode("a <pad> b").input_ids
    assert tokenizer.encode("\u6211").input_ids[-1] == UNKNOWN_TOKEN_ID


def test_long_texts_are_learned_in_pieces():
    """The time of Unigram training grows faster than a line: a book must not stop a run."""
    tokenizer = trained(["where is my order i please " * 4_000] * 3)
    assert UNKNOWN_TOKEN_ID not in tokenizer.encode("where is my order").input_ids
