"""Everything that `--resume` restores: weights, optimiser, random state, position in the epoch."""

import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.checkpoint import CheckpointError, load_tensors, save_tensors
from model.config import TrainingConfig
from model.network import Network

_BETAS = (0.9, 0.98)  # Vaswani et al. 2017, section 5.3: settles faster than 0.999 on short runs


@dataclass
class Progress:
    """Where a run stands. `position` counts the batches of the epoch that were seen."""

    epoch: int = 0
    position: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_nll: float = float("inf")
    stale_epochs: int = 0
    train_s: float = 0.0  # of the finished epochs; `epoch_s` of the one that runs
    epoch_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


class TrainingState:
    """Network, its running average, optimiser and progress."""

    def __init__(self, network: Network, config: TrainingConfig) -> None:
        self.network = network
        self.average = copy.deepcopy(network)  # what is validated and kept
        self.optimizer = build_optimizer(network, config)
        self.progress = Progress()

    def update_average(self, horizon: int) -> None:
        """Exponential mean of the weights over about `horizon` steps (Polyak averaging)."""
        decay = 1.0 - 1.0 / min(horizon, self.progress.step + 1)
        pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
        with torch.no_grad():
            for mean, value in pairs:
                mean.lerp_(value, 1.0 - decay)

    def save(self, path: Path) -> None:
        """Write one file, whole or not at all."""
        tensors = {"random.cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        for part, module in self._modules():
            tensors |= {f"{part}.{name}": value for name, value in module.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
        save_tensors(path, tensors, asdict(self.progress))

    def load(self, path: Path) -> None:
        """Continue from `save`; raises `CheckpointError`."""
        tensors, progress = load_tensors(path)
        try:
            self._restore(tensors, progress)
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise CheckpointError(f"{path} does not fit this run") from None

    def _restore(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        torch.set_rng_state(tensors.pop("random.cpu"))
        cuda = tensors.pop("random.cuda", None)
        if cuda is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(cuda)
        for part, module in self._modules():
            module.load_state_dict(_below(f"{part}.", tensors))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer.", tensors).items():
            index, slot = name.split(".")
            slots.setdefault(int(index), {})[slot] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self.progress = Progress(**progress)

    def _modules(self) -> tuple[tuple[str, nn.Module], ...]:
        return ("network", self.network), ("average", self.average)


def build_optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); biases and norms are not decayed."""
    matrices = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=_BETAS, fused=True)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
