"""The texts to send, read as `heed train` and `heed predict` read them."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from model.columns import Columns, DataError
from model.data import read_batches
from model.files import kind_of

BUILT_IN = Path(__file__).with_name("texts.txt")
TEXTS_ONLY = Columns(label=None)


class TextsError(ValueError):
    """The texts file cannot be used; the message names the file and the reason."""


def read_texts(source: Path | str = BUILT_IN, columns: Columns = TEXTS_ONLY) -> list[str]:
    """All texts of a file, in order, without the blank ones; see `iter_texts`."""
    return list(iter_texts(source, columns))


def iter_texts(
    source: Path | str = BUILT_IN,
    columns: Columns = TEXTS_ONLY,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[str]:
    """The texts of a file one by one, in order, without the blank ones and without outer blanks.

    Args:
        source: as `model.data.read_batches` takes it; a file without a suffix has a text a line.
        columns: what is asked for; `label` is None.
        tell: called with what is worth a warning.

    Raises:
        TextsError: the source cannot be used or holds no text. It comes when the iteration gets
            there.
    """
    found = False
    if columns.format is None and Path(source).is_file() and not kind_of(str(source)):
        columns = replace(columns, format="txt")
    try:
        for batch in read_batches(str(source), columns, tell=tell):
            for text in filter(None, map(str.strip, batch.texts)):
                found = True
                yield text
    except DataError as error:
        raise TextsError(str(error)) from None
    if not found:
        raise TextsError(f"{source}: holds no text")


def sample(texts: Iterable[str], count: int, rng: random.Random) -> list[str]:
    """At most `count` of `texts`, each with the same chance, never holding more than that.

    Algorithm R (Vitter, Random Sampling with a Reservoir, 1985).
    """
    kept: list[str] = []
    for index, text in enumerate(texts):
        if index < count:
            kept.append(text)
        elif (place := rng.randrange(index + 1)) < count:
            kept[place] = text
    return kept
