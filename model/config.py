"""What can be set about a run: named presets, a TOML file over them, flags over both. No torch."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.runtime.errors import HeedError
from service.runtime.strict_toml import read_toml

PRESETS = Path(__file__).parent / "presets"


class ConfigError(HeedError):
    """A preset or a TOML file that cannot be used, in one line."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TokenizerConfig(_Section):
    """The vocabulary, learned from the training texts."""

    vocab_size: int = Field(16_000, ge=64, description="upper limit of the number of ids")
    characters_per_id: float = Field(
        60.0,
        gt=0,
        description="characters of training text that earn an id: small data, few ids",
    )


class NetworkConfig(_Section):
    """Sizes of the network."""

    hidden_size: int = Field(128, ge=8)
    num_heads: int = Field(4, ge=1)
    num_layers: int = Field(2, ge=0)
    mlp_size: int = Field(256, ge=8)
    max_length: int = Field(256, ge=4, description="tokens; longer texts are cut")
    bigram_buckets: int = Field(65_536, ge=1)
    bigram_size: int = Field(32, ge=1)
    wide_size: int = Field(
        1_048_576, ge=0, description="numbers in the wide table of pairs; 0: no wide branch"
    )
    kernel_size: int = Field(3, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    embedding_dropout: float = Field(0.2, ge=0, lt=1)
    head_dropout: float = Field(0.3, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "NetworkConfig":
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}"
            )
        return self


class TrainingConfig(_Section):
    """The loop."""

    seed: int = Field(0, ge=0)
    epochs: int | None = Field(None, ge=1, description="at most; None: by `row_budget`")
    row_budget: int = Field(
        default=400_000, ge=1, description="rows seen in all epochs, which are 4 to 15 of them"
    )
    patience: int = Field(4, ge=1, description="epochs without a better validation NLL")
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warm_up: float = Field(0.1, ge=0, lt=1, description="share of all steps")
    max_grad_norm: float = Field(1.0, gt=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    word_dropout: float = Field(
        default=0.3, ge=0, lt=1, description="share of tokens hidden from a step"
    )
    validation_fraction: float = Field(
        default=0.1, gt=0, lt=1, description="held out without --valid"
    )
    max_validation_rows: int = Field(
        default=5_000, ge=1, description="held out at most, without --valid"
    )
    baseline_characters: int = Field(
        default=2_000_000, ge=0, description="that the linear baseline learns from; 0: no baseline"
    )
    save_every_steps: int = Field(
        default=500, ge=1, description="steps between two states for --resume"
    )

    def epochs_for(self, rows: int) -> int:
        """Epochs over `rows` training rows: many rows need fewer passes."""
        return self.epochs or min(15, max(4, round(self.row_budget / rows)))


class Config(_Section):
    """Everything that decides a run besides the data."""

    tokenizer: TokenizerConfig = TokenizerConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()


def load_config(preset: str, file: Path | None = None, **training: float | None) -> Config:
    """The preset, with the TOML `file` over it and `training` (None = not given) over both.

    Raises:
        ConfigError: unknown preset or key, a value out of range, a file that is not TOML.
    """
    path = PRESETS / f"{preset}.toml"
    if not path.is_file():
        names = ", ".join(sorted(item.stem for item in PRESETS.glob("*.toml")))
        raise ConfigError(f"unknown preset {preset!r}, expected one of {names}")
    raw = _merge(_read(path), _read(file) if file else {})
    raw = _merge(raw, {"training": {k: v for k, v in training.items() if v is not None}})
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{file or 'configuration'}: {place}: {first['msg']}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; expected a TOML file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from None


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = below.get(key, {})
        if isinstance(value, dict):  # no section covers up a wrong value below it
            merged[key] = _merge(old, value) if isinstance(old, dict) else old
        else:
            merged[key] = value
    return merged
