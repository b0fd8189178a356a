"""The loop: rates, epochs, early stopping, and which weights are kept."""

import math

import pytest
import torch

from model.batches import EncodedTexts
from model.checkpoint import load_tensors
from model.config import NetworkConfig, TrainingConfig
from model.folder import WEIGHTS_FILE
from model.inference import network_logits
from model.network import Network
from model.state import TrainingState
from model.train import learning_rate, train
from tests.runs import Silent

CONFIG = TrainingConfig(batch_size=8, learning_rate=5e-3, epochs=4, save_every_steps=3)
VOCAB_SIZE = 20
SIZES = NetworkConfig(
    hidden_size=16, num_heads=2, num_layers=1, mlp_size=16, max_length=8, bigram_buckets=32
)


def texts(count: int, seed: int) -> EncodedTexts:
    """Rows whose first id tells the label."""
    torch.manual_seed(seed)
    labels = torch.arange(count) % 2
    rows = [
        [2 + label, *torch.randint(4, VOCAB_SIZE, (label + row % 5,)).tolist()]
        for row, label in enumerate(labels.tolist())
    ]
    return EncodedTexts(rows, labels.numpy())


def fit(tmp_path, config: TrainingConfig = CONFIG, valid: EncodedTexts | None = None):
    """Train on 40 rows: the state and the listener that was told of it."""
    torch.manual_seed(config.seed)
    state = TrainingState(Network(SIZES, VOCAB_SIZE, 2), config)
    listener = Silent()
    train(state, (texts(40, seed=0), valid or texts(12, seed=1)), config, tmp_path, listener)
    return state, listener


@pytest.mark.parametrize("warm_up", [0.0, 0.1, 0.5])
def test_learning_rate_warms_up_and_ends_near_0(warm_up):
    """Up in a line to the rate asked for, down along half a cosine to almost nothing."""
    config = TrainingConfig(learning_rate=0.4, warm_up=warm_up)
    rates = [learning_rate(step, 200, config) for step in range(200)]
    warm = max(1, round(200 * warm_up))
    assert max(rates) == rates[warm - 1] == pytest.approx(0.4)
    assert rates[:warm] == pytest.approx([0.4 * (step + 1) / warm for step in range(warm)])
    assert all(later <= rate for rate, later in zip(rates[warm:], rates[warm + 1 :], strict=False))
    assert 0 <= rates[-1] < 0.4 * 1e-3
    middle = warm + (200 - warm) // 2
    assert rates[middle] == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_learning_rate_of_a_few_steps_is_finite(steps):
    """Tiny data: every step learns something."""
    rates = [learning_rate(step, steps, TrainingConfig()) for step in range(steps)]
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)


def test_each_epoch_sees_every_row(tmp_path):
    """Four epochs over 40 rows in batches of 8."""
    state, listener = fit(tmp_path)
    records = listener.records
    assert listener.epochs == [(1, 40), (2, 40), (3, 40), (4, 40)]
    assert listener.rows == [8] * 20
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert [record["step"] for record in records] == [5, 10, 15, 20]
    assert (state.progress.epoch, state.progress.position) == (4, 0)
    for number, record in enumerate(records):
        losses = listener.losses[5 * number : 5 * number + 5]
        assert record["train_loss"] == pytest.approx(sum(losses) / 5)


def test_it_learns(tmp_path):
    """The first id tells the label, and 20 steps are enough to see it."""
    config = CONFIG.model_copy(update={"epochs": 12, "word_dropout": 0.0})
    records = fit(tmp_path, config)[1].records
    assert records[-1]["valid_accuracy"] == 1.0
    assert records[-1]["valid_nll"] < records[0]["valid_nll"]


def test_same_seed_same_losses(tmp_path):
    """Bit by bit; another seed sees other batches."""
    first = fit(tmp_path)[1].losses
    assert fit(tmp_path)[1].losses == first
    assert fit(tmp_path, CONFIG.model_copy(update={"seed": 1}))[1].losses != first


def test_early_stopping_stops(tmp_path):
    """Validation rows that contradict the training rows get worse: `patience` epochs, then stop."""
    contrary = texts(12, seed=1)
    valid = EncodedTexts(contrary.rows, 1 - contrary.label_ids)
    config = CONFIG.model_copy(
        update={"epochs": 30, "patience": 2, "word_dropout": 0.0, "learning_rate": 2e-2}
    )
    state, listener = fit(tmp_path, config, valid)
    records = listener.records
    best = min(range(len(records)), key=lambda index: records[index]["valid_nll"])
    assert len(records) == best + 1 + 2 < 30
    assert state.progress.stale_epochs == 2


def test_best_epoch_is_kept(tmp_path):
    """The file holds the averaged weights of the epoch with the lowest validation NLL."""
    contrary = texts(12, seed=1)
    valid = EncodedTexts(contrary.rows, 1 - contrary.label_ids)
    config = CONFIG.model_copy(
        update={"epochs": 6, "patience": 6, "word_dropout": 0.0, "learning_rate": 2e-2}
    )
    state, listener = fit(tmp_path, config, valid)
    records = listener.records
    best = min(records, key=lambda record: record["valid_nll"])
    assert best["epoch"] < 6
    weights, kept = load_tensors(tmp_path / WEIGHTS_FILE)
    assert kept == best
    network = Network(SIZES, VOCAB_SIZE, 2)
    network.load_state_dict(weights)
    logits = torch.from_numpy(network_logits(network, valid.rows))
    nll = torch.nn.functional.cross_entropy(logits, torch.from_numpy(valid.label_ids))
    assert float(nll) == pytest.approx(best["valid_nll"])
    assert state.progress.best_nll == best["valid_nll"]


def test_finished_state_trains_no_further(tmp_path):
    """What is over stays over: a run killed while it evaluates is only evaluated again."""
    state, _ = fit(tmp_path)
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    listener = Silent()
    train(state, (texts(40, seed=0), texts(12, seed=1)), CONFIG, tmp_path, listener)
    after = state.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert listener == Silent()


def test_gradients_are_clipped(tmp_path, monkeypatch):
    """No batch moves the weights by more than `max_grad_norm` allows."""
    norms = []
    clip = torch.nn.utils.clip_grad_norm_

    def record(parameters, limit):
        values = list(parameters)
        clip(values, limit)
        norms.append(math.sqrt(sum(float(value.grad.square().sum()) for value in values)))

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", record)
    fit(tmp_path, CONFIG.model_copy(update={"max_grad_norm": 0.01}))
    assert len(norms) == 20
    assert max(norms) == pytest.approx(0.01, rel=1e-3)
