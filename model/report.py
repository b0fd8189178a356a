"""Draws what the run recorded."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path


def draw_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Training loss, validation NLL and validation accuracy over epochs, as a PNG."""
    with tempfile.TemporaryDirectory(prefix="heed-matplotlib-") as folder:
        # Else it makes two folders in the user's home, for a cache of fonts that is made in 0.3 s.
        os.environ.setdefault("MPLCONFIGDIR", folder)
        try:
            _draw(history, path)
        finally:
            if os.environ["MPLCONFIGDIR"] == folder:
                del os.environ["MPLCONFIGDIR"]


def _draw(history: Sequence[dict[str, float]], path: Path) -> None:
    import matplotlib as mpl  # costs 0.3 s, needed once at the end

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # after the backend is chosen
    from matplotlib.ticker import MaxNLocator

    epochs = [record["epoch"] for record in history]
    best = min(history, key=lambda record: record["valid_nll"])
    figure, (losses, accuracy) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    losses.plot(epochs, [record["train_loss"] for record in history], "o-", label="training loss")
    losses.plot(epochs, [record["valid_nll"] for record in history], "o-", label="validation NLL")
    losses.set_ylabel("nats")
    percent = [100 * record["valid_accuracy"] for record in history]
    accuracy.plot(epochs, percent, "o-", color="tab:green", label="validation accuracy")
    accuracy.set_ylabel("%")
    for axes in (losses, accuracy):
        axes.axvline(best["epoch"], color="grey", linestyle=":", label="kept")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
