"""The temperature makes probabilities mean what they say, and changes no label."""

import numpy as np
import pytest
import torch

from model.calibrate import fit_temperature
from model.checkpoint import load_checkpoint
from model.inference import network_logits
from model.parts import read_part


def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are drawn with just their probabilities."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (count, 4)).astype(np.float32)
    label_ids = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, label_ids


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_temperature_undoes_a_factor(factor):
    """Logits that are `factor` times too sure are divided by it."""
    logits, label_ids = drawn(20_000)
    scaled = (factor * logits).astype(np.float32)
    assert fit_temperature(scaled, label_ids) == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("right", [0, 1])
def test_temperature_of_hopeless_or_perfect_rows_is_finite(right):
    """One row that is right, or wrong: the bounds hold."""
    logits = np.array([[2.0, 1.0]], dtype=np.float32)
    temperature = fit_temperature(logits, np.array([1 - right]))
    assert np.isfinite(temperature)
    assert temperature > 0


def test_checkpoint_has_the_temperature_that_fits_its_validation_rows(trained_run):
    """It is part of the network, so that run and artifact divide by the same."""
    checkpoint = load_checkpoint(trained_run)
    temperature = checkpoint.network.temperature.item()
    valid = read_part(trained_run, "validation")
    rows = [checkpoint.tokenizer.encode(text).input_ids for text in valid.texts]
    label_ids = np.array([checkpoint.run.labels.index(label) for label in valid.labels])
    logits = network_logits(checkpoint.network, rows)
    checkpoint.network.temperature.copy_(torch.tensor(1.0))
    plain = network_logits(checkpoint.network, rows)
    assert fit_temperature(plain, label_ids) == pytest.approx(temperature, rel=1e-2)
    assert np.abs(plain / temperature - logits).max() <= 1e-4
    assert (plain.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_few_rows_that_are_all_right_do_not_make_it_sure():
    """Thirty rows prove little: the prior keeps the temperature from falling to its bound."""
    logits = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (30, 1))
    assert fit_temperature(logits, np.zeros(30, dtype=np.int64)) >= 0.2
