"""Texts a second in process, without tokenising, by the size of a batch.

Example: python benchmarks/predictor.py artifacts/demo texts.txt
"""

import statistics
import sys
import time
from pathlib import Path

from loadtest.texts import read_texts
from service.runtime.predictor import Predictor

ROUNDS = 5
BUDGETS = (128, 512, 2_048, 8_192)  # padded tokens in a batch


def main() -> None:
    """Print the medians of interleaved rounds."""
    artifact, file = sys.argv[1:]
    predictor = Predictor(artifact)
    rows = [predictor.tokenizer.encode(text).input_ids for text in read_texts(Path(file))]
    predictor.logits(rows)  # warm
    rates: dict[int, list[float]] = {budget: [] for budget in BUDGETS}
    for _ in range(ROUNDS):
        for budget in BUDGETS:
            started = time.perf_counter()
            predictor.logits(rows, budget)
            rates[budget].append(len(rows) / (time.perf_counter() - started))
    for budget, measured in rates.items():
        print(f"{budget:>6,} tokens a batch: {statistics.median(measured):,.0f} texts/s")


if __name__ == "__main__":
    main()
