"""The training loop."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from model.batches import EncodedTexts, training_batches
from model.calibrate import fit_temperature
from model.checkpoint import save_tensors
from model.config import TrainingConfig
from model.folder import STATE_FILE, WEIGHTS_FILE
from model.inference import network_logits
from model.metrics import interval
from model.state import TrainingState
from service.runtime.artifact import UNKNOWN_TOKEN_ID
from service.runtime.errors import HeedError
from service.runtime.tokenizer import pad

_MIN_HORIZON, _MAX_HORIZON = 10, 1_000  # steps that the average of the weights looks back


class TrainingError(HeedError):
    """Training cannot go on; the message says what to change."""


class Listener(Protocol):
    """Told what happens, while it happens."""

    def started(self, epoch: int, rows: int) -> None:
        """An epoch begins; `rows` of it were not seen yet."""

    def stepped(self, loss: float, rows: int) -> None:
        """A batch was learned."""

    def validated(self, record: Mapping[str, float]) -> None:
        """An epoch ended."""


def train(
    state: TrainingState,
    parts: tuple[EncodedTexts, EncodedTexts],
    config: TrainingConfig,
    folder: Path,
    listener: Listener,
) -> None:
    """Train from where `state` stands until the epochs are over or validation stops improving.

    Args:
        state: fresh or loaded; holds the result.
        parts: the rows to learn from and those that decide which epoch is kept.
        config: rates, sizes, limits.
        folder: gets the best weights and the state for `--resume`.
        listener: told of every epoch and batch.
    """
    data, valid = parts
    lengths = [len(row) for row in data.rows]
    steps_per_epoch = math.ceil(len(data) / config.batch_size)
    epochs = config.epochs_for(len(data))
    horizon = min(_MAX_HORIZON, max(_MIN_HORIZON, steps_per_epoch))
    progress = state.progress
    while progress.epoch < epochs and progress.stale_epochs < config.patience:
        started = time.monotonic() - progress.epoch_s
        batches = training_batches(lengths, config.batch_size, [config.seed, progress.epoch])
        listener.started(progress.epoch + 1, len(data) - progress.position * config.batch_size)
        state.network.train()
        for batch in batches[progress.position :]:
            rate = learning_rate(progress.step, steps_per_epoch * epochs, config)
            loss = _step(state, data, batch, rate, config)
            progress.position += 1
            progress.step += 1
            progress.loss_sum += loss
            progress.epoch_s = time.monotonic() - started
            state.update_average(horizon)
            listener.stepped(loss, len(batch))
            if progress.step % config.save_every_steps == 0:
                state.save(folder / STATE_FILE)
        record = _end_epoch(state, valid, steps_per_epoch)
        if progress.stale_epochs == 0:
            save_tensors(folder / WEIGHTS_FILE, state.average.state_dict(), record)
        state.save(folder / STATE_FILE)
        listener.validated(record)


def learning_rate(step: int, steps: int, config: TrainingConfig) -> float:
    """Linear warm-up, then half a cosine down to 0 (Loshchilov and Hutter 2017, SGDR)."""
    warm = max(1, round(steps * config.warm_up))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def to_tensors(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Padded ids and mask, both (B, T), on the device."""
    input_ids, attention_mask = pad(rows)
    return torch.from_numpy(input_ids).to(device), torch.from_numpy(attention_mask).to(device)


def _step(
    state: TrainingState, data: EncodedTexts, batch: list[int], rate: float, config: TrainingConfig
) -> float:
    """One batch: hide words, predict, correct. Returns the loss."""
    network, optimizer = state.network, state.optimizer
    device = next(network.parameters()).device
    input_ids, mask = to_tensors([data.rows[index] for index in batch], device)
    targets = torch.from_numpy(data.label_ids[batch]).to(device)  # (B,)
    # Word dropout (Iyyer et al. 2015, section 2.3): no single word may carry the decision.
    hidden = (torch.rand(input_ids.shape, device=device) < config.word_dropout) & (mask == 1)
    logits, _ = network(input_ids.masked_fill(hidden, UNKNOWN_TOKEN_ID), mask)
    loss = nn.functional.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return float(loss.item())


def _end_epoch(state: TrainingState, valid: EncodedTexts, steps: int) -> dict[str, float]:
    """Calibrate and validate the averaged weights, move the progress to the next epoch."""
    progress, average = state.progress, state.average
    average.temperature.fill_(1.0)
    logits = network_logits(average, valid.rows)  # (N, C)
    # Before the comparison: an epoch is not worse for being too sure, that is mended in any case.
    average.temperature.fill_(fit_temperature(logits, valid.label_ids))
    calibrated = torch.from_numpy(logits) / average.temperature.item()
    targets = torch.from_numpy(valid.label_ids)
    nll = float(nn.functional.cross_entropy(calibrated, targets))
    if not math.isfinite(nll):
        raise TrainingError(
            f"training diverged in epoch {progress.epoch + 1}: validation NLL is {nll}; try a "
            "lower [training] learning_rate"
        )
    correct = int((calibrated.argmax(dim=1) == targets).sum())
    low, high = interval(correct, len(targets))
    record = {
        "epoch": progress.epoch + 1,
        "step": progress.step,
        "train_loss": progress.loss_sum / steps,
        "valid_nll": nll,
        "valid_accuracy": correct / len(targets),
        "valid_accuracy_low": low,
        "valid_accuracy_high": high,
        "train_s": round(progress.train_s + progress.epoch_s, 2),
    }
    improved = nll < progress.best_nll
    progress.best_nll = min(nll, progress.best_nll)
    progress.stale_epochs = 0 if improved else progress.stale_epochs + 1
    progress.train_s += progress.epoch_s
    progress.epoch, progress.position = progress.epoch + 1, 0
    progress.loss_sum, progress.epoch_s = 0.0, 0.0
    progress.history.append(record)
    return record
