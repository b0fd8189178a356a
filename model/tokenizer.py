"""Trains the tokenizer. Encoding is service.runtime.tokenizer's, everywhere."""

import io
from collections import Counter
from collections.abc import Sequence

import sentencepiece

from model.config import TokenizerConfig
from service.runtime.artifact import PAD_TOKEN_ID, UNKNOWN_TOKEN_ID


def train_tokenizer(texts: Sequence[str], config: TokenizerConfig) -> bytes:
    """A SentencePiece Unigram model (Kudo 2018) of the training texts, any script.

    Texts are NFKC-normalised and case-folded. The vocabulary shrinks with the data: rare pieces
    learn nothing (TREC, 4,900 rows: 85 % validation accuracy with 4,000 ids, 82 % with 8,000).

    Args:
        texts: at least one of them with a visible character.
        config: the limits of the vocabulary.

    Returns:
        The serialised model.
    """
    lines = [" ".join(text.split()) for text in texts]
    alphabet = Counter("".join(lines))
    wanted = max(500, 2 * len(alphabet), int(alphabet.total() / config.characters_per_id))
    vocab_size = min(config.vocab_size, wanted)
    common = sum(count for _, count in alphabet.most_common(vocab_size // 2))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocab_size,
        hard_vocab_limit=False,  # fewer pieces than asked for is fine on small data
        character_coverage=min(0.9999, common / alphabet.total()),
        normalization_rule_name="nmt_nfkc_cf",
        max_sentence_length=1_000_000,
        pad_id=PAD_TOKEN_ID,
        unk_id=UNKNOWN_TOKEN_ID,
        bos_id=-1,
        eos_id=-1,
        num_threads=2,
        minloglevel=2,
    )
    return model.getvalue()
