"""A run directory on disk: safetensors and JSON, never pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import Config
from model.folder import METRICS_FILE, WEIGHTS_FILE
from model.network import Network
from service.runtime.artifact import TOKENIZER_FILE, ArtifactError
from service.runtime.errors import HeedError
from service.runtime.files import replacing
from service.runtime.tokenizer import Tokenizer
from service.runtime.versions import RUN_FILE


class CheckpointError(HeedError):
    """A folder that is not a finished run, or a file in it that cannot be used."""


@dataclass(frozen=True)
class Run:
    """What `run.json` holds: the settings and everything that the result depends on."""

    config: Config
    labels: tuple[str, ...]
    vocab_size: int
    data: Mapping[str, Any]
    git_commit: str | None
    libraries: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write `run.json`."""
        content = {**vars(self), "config": self.config.model_dump()}
        write_json(folder / RUN_FILE, content)

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Read `run.json`; raises `CheckpointError`."""
        raw = read_json(folder / RUN_FILE)
        try:
            raw["config"] = Config.model_validate(raw["config"])
            raw["labels"] = tuple(raw["labels"])
            return cls(**raw)
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(f"{folder / RUN_FILE} is not a run of this Heed") from None

    def build(self) -> Network:
        """A network of the run's sizes, with fresh weights."""
        return Network(self.config.network, self.vocab_size, len(self.labels))


@dataclass(frozen=True)
class Checkpoint:
    """The best weights of a run, ready to classify."""

    run: Run
    network: Network
    tokenizer: Tokenizer
    tokenizer_model: bytes
    metrics: Mapping[str, Any]


def load_checkpoint(folder: Path) -> Checkpoint:
    """The best checkpoint of a finished run, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: the folder is not a run, the run did not finish, a file is broken.
    """
    if not (folder / RUN_FILE).is_file():
        raise CheckpointError(f"{folder} is not a run: it holds no {RUN_FILE}")
    if not (folder / METRICS_FILE).is_file():
        raise CheckpointError(f"{folder} did not finish; continue it with heed train --resume")
    run = Run.read(folder)
    network = run.build().eval()
    weights = folder / WEIGHTS_FILE
    try:
        network.load_state_dict(load_tensors(weights)[0])
    except RuntimeError:
        raise CheckpointError(f"{weights} does not fit the sizes in {RUN_FILE}") from None
    model, tokenizer = read_tokenizer(folder, run.config.network.max_length)
    if tokenizer.vocab_size != run.vocab_size:
        raise CheckpointError(f"{folder / TOKENIZER_FILE} is not the tokenizer of this run")
    return Checkpoint(run, network, tokenizer, model, read_json(folder / METRICS_FILE))


def read_tokenizer(folder: Path, max_length: int) -> tuple[bytes, Tokenizer]:
    """The tokenizer file of a run; raises `CheckpointError`."""
    path = folder / TOKENIZER_FILE
    try:
        model = path.read_bytes()
        return model, Tokenizer(model, max_length)
    except (OSError, ArtifactError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def save_tensors(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON state as one file, whole or not at all; raises `FileError`."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary, metadata={"state": json.dumps(state)})
        except SafetensorError as error:  # also of a full disk
            raise OSError(str(error)) from None


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_tensors` wrote; raises `CheckpointError`."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
            state = json.loads(file.metadata()["state"])
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    return tensors, state


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all; raises `FileError`."""
    text = json.dumps(content, indent=2, ensure_ascii=False, default=list) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read an object; raises `CheckpointError`."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return content
