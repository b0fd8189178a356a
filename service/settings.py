"""Settings of the service: `HEED_` variables of the environment, checked at start."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every field is `HEED_` and its name in the environment; options of `heed serve` win."""

    model_config = SettingsConfigDict(env_prefix="HEED_", frozen=True, extra="ignore")

    model: Path = Field(description="Artifact folder, or a folder of versions (the highest wins).")
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for all."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port; 0 takes a free one.")
    execution_provider: Literal["auto", "cpu", "cuda", "tensorrt"] = Field(
        default="auto",
        description="Where the model runs. auto is cuda if it starts, else cpu; any other is "
        "that or an error at start.",
    )
    engine_workers: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Batches computed at the same time; 0 is the CPU quota on cpu, 1 on a GPU.",
    )
    intra_op_num_threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="ONNX Runtime threads inside one batch; 0 is the CPU quota / engine_workers.",
    )
    max_batch_tokens: int = Field(
        default=512,
        ge=1,
        description="Tokens in a batch, padding counted; 512 is best on CPU, a GPU wants 16384.",
    )
    max_batch_size: int = Field(default=32, ge=1, le=4096, description="Texts in a batch.")
    max_queue_size: int = Field(
        default=1024,
        ge=1,
        description="Texts that may wait; a request that finds no room for all of its texts is "
        "answered 503 with Retry-After.",
    )
    request_timeout_s: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="Seconds a request may wait; one that waited longer is answered 504 and "
        "never computed.",
    )
    max_text_chars: int = Field(
        default=20_000, ge=1, description="Characters (Unicode code points) of one text."
    )
    max_texts_per_request: int = Field(default=64, ge=1, description="Texts in one request.")
    max_body_bytes: int = Field(default=2_000_000, ge=1, description="Bytes of a request body.")
    shutdown_grace_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="Seconds after SIGTERM in which accepted requests are finished.",
    )
    keep_alive_s: int = Field(
        default=75,
        ge=1,
        description="Seconds an idle connection stays open; longer than a proxy in front keeps it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug also logs probes and scrapes."
    )
    docs_enabled: bool = Field(
        default=True,
        description="Serve /docs and /openapi.json; the page of /docs loads Swagger UI from a CDN.",
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.max_queue_size < self.max_texts_per_request:
            raise ValueError(
                f"max_queue_size ({self.max_queue_size}) is below max_texts_per_request "
                f"({self.max_texts_per_request}): such a request would never be accepted"
            )
        if self.max_body_bytes < self.max_text_chars:
            raise ValueError(
                f"max_body_bytes ({self.max_body_bytes}) is below max_text_chars "
                f"({self.max_text_chars}): such a text would never fit"
            )
        if self.shutdown_grace_s < self.request_timeout_s:
            raise ValueError(
                f"shutdown_grace_s ({self.shutdown_grace_s:g}) is below request_timeout_s "
                f"({self.request_timeout_s:g}): accepted requests would be cut off"
            )
        return self


def explain_invalid(error: ValidationError) -> str:
    """One line for a person: which variable is wrong, and why."""
    reasons = []
    for problem in error.errors(include_url=False, include_input=False):
        variable = "".join(f"HEED_{str(part).upper()}: " for part in problem["loc"][:1])
        reasons.append(variable + problem["msg"].removeprefix("Value error, "))
    return "; ".join(reasons)
