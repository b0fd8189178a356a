"""Settings of the service: `HEED_` variables of the environment, checked at start."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from service.networks import parse_networks

MIN_RATE, MAX_RATE = 1e-6, 1e6
_INJECTED = re.compile(r"(tcp|udp|sctp)://")
_PORT = re.compile(r":[0-9]*$")
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def _number(value: object) -> object:
    """The environment has text where a Literal of numbers wants numbers."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def is_injected(name: str, value: str) -> bool:
    """Whether a variable is Kubernetes' or Docker's word for the port of a service: `tcp://...`.

    For a service `heed` that is HEED_PORT, for one called `heed-admin` HEED_ADMIN_PORT.
    """
    return name.upper().endswith("_PORT") and _INJECTED.match(value.strip().lower()) is not None


class _Environment(EnvSettingsSource):
    """Variables as orchestrators and people leave them: empty is not set, blanks do not count."""

    def __call__(self) -> dict[str, Any]:
        """What is set, by the names of the fields."""
        found = ((name, value.strip()) for name, value in super().__call__().items())
        return {name: text for name, text in found if text and not is_injected(f"_{name}", text)}


def _check_rate(value: float) -> float:
    if value and not MIN_RATE <= value <= MAX_RATE:
        raise ValueError(f"expected 0, or {MIN_RATE:g} to {MAX_RATE:,.0f} requests a second")
    return value


# Requests a second; 0 is no limit. Less than one in eleven days is a mistake, and 1e-320 of them
# would last longer than a float can say.
RequestRate = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_check_rate)]


class Settings(BaseSettings):
    """Every field is `HEED_` and its name in the environment; options of `heed serve` win."""

    model_config = SettingsConfigDict(
        env_prefix="HEED_", frozen=True, extra="ignore", allow_inf_nan=False
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment."""
        return init_settings, _Environment(settings_cls)

    model: Path = Field(
        description="Artifact folder, or a folder of versions (it begins with the highest)."
    )
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for all."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port; 0 takes a free one.")
    execution_provider: Annotated[
        Literal["auto", "cpu", "cuda", "tensorrt"], BeforeValidator(_lower)
    ] = Field(
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
        le=10_000_000,
        description="Tokens in a batch, padding counted; 512 is best on CPU, a GPU wants 16384.",
    )
    max_batch_size: int = Field(default=32, ge=1, le=4096, description="Texts in a batch.")
    max_queue_size: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="Texts of a priority that may wait, at most; fewer where the measured service "
        "time says that more would be late.",
    )
    request_timeout_s: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="Seconds until a request is answered 504, computed or not; clients may ask for "
        "less with X-Request-Timeout-Ms.",
    )
    interactive_share: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description="Share of the batches that requests of priority interactive get while both "
        "priorities wait.",
    )
    shed_status: Annotated[Literal[503, 429], BeforeValidator(_number)] = Field(
        default=503, description="Status of a request that is refused because of load."
    )
    engine_stall_s: float = Field(
        default=1.5,
        gt=0,
        le=600,
        description="Seconds after which a batch counts as hanging, or 20 times its expected "
        "duration if that is longer; the process then exits with 70.",
    )
    max_text_chars: int = Field(
        default=20_000,
        ge=1,
        le=10_000_000,
        description="Characters (Unicode code points) of one text.",
    )
    max_texts_per_request: int = Field(
        default=64, ge=1, le=10_000, description="Texts in one request."
    )
    max_scores: int = Field(
        default=65_536,
        ge=1,
        le=100_000_000,
        description="Labels in one answer, over all its texts; else 422 (top_k asks for less).",
    )
    max_body_bytes: int = Field(
        default=2_000_000, ge=1, le=1_000_000_000, description="Bytes of a request body."
    )
    max_inflight_body_bytes: int = Field(
        default=67_108_864,
        ge=1,
        le=1_000_000_000_000,
        description="Bytes of all bodies above 64 KiB that are held at once; those that do not fit "
        "are refused for load.",
    )
    max_inflight_answer_bytes: int = Field(
        default=33_554_432,
        ge=1,
        le=1_000_000_000_000,
        description="Bytes of all answers that are made, sent or not read yet; above it those of "
        "more than 64 KiB are refused for load.",
    )
    max_header_bytes: int = Field(
        default=32_768,
        ge=1024,
        le=10_000_000,
        description="Bytes of request line and header fields; else 431.",
    )
    max_header_fields: int = Field(
        default=100, ge=8, le=10_000, description="Header fields; else 431."
    )
    header_timeout_s: float = Field(
        default=10.0,
        gt=0,
        le=3_600,
        description="Seconds from the first byte (or the connection) to the end of the headers.",
    )
    body_timeout_s: float = Field(
        default=5.0, gt=0, le=3_600, description="Seconds between two pieces of a body; else 408."
    )
    min_body_rate: int = Field(
        default=1000,
        ge=0,
        le=1_000_000_000,
        description="Bytes a second that a body must keep, after its first seconds; 0 is off.",
    )
    write_timeout_s: float = Field(
        default=30.0, gt=0, le=3_600, description="Seconds a client may leave an answer unread."
    )
    min_read_rate: int = Field(
        default=16_384,
        ge=0,
        le=1_000_000_000,
        description="Bytes a second of an answer that a client must read, after write_timeout_s; "
        "0 is off.",
    )
    max_connections: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="Open connections; fewer if the limit of open files is lower.",
    )
    max_connections_per_peer: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="Open connections of one address; trusted proxies are exempt.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks, by commas, of proxies in front: exempt from "
        "max_connections_per_peer.",
    )
    allowed_hosts: str = Field(
        default="",
        description="Host names, by commas, that requests may be sent to beside localhost and "
        "addresses; * for any. If empty: on the admin port none; else any, but none with a dot on "
        "loopback without keys and without trusted_proxies.",
    )
    cors_origins: str = Field(
        default="", description="Origins, by commas, that browsers may call from; none if empty."
    )
    api_keys_file: Path | None = Field(
        default=None,
        description="File of hashed API keys (heed keys new); read again when it changes. Without "
        "it everybody who reaches the port may classify.",
    )
    key_rate_limit: RequestRate = Field(
        default=0.0,
        description="Requests a second of one key, unless its entry says otherwise; 0 is no limit.",
    )
    admin_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port of the admin routes (load, roll back); without it there are none.",
    )
    admin_host: str = Field(
        default="127.0.0.1", min_length=1, description="Address of the admin routes."
    )
    max_loaded_versions: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Versions kept in memory: the active one and those to roll back to.",
    )
    load_timeout_s: float = Field(
        default=120.0,
        gt=0,
        le=3600,
        description="Seconds to read, start and warm a version; one that takes longer is refused.",
    )
    drain_delay_s: float = Field(
        default=0.0,
        ge=0,
        le=600,
        description="Seconds after SIGTERM in which the service is not ready but still accepts, "
        "until a proxy has noticed.",
    )
    shutdown_grace_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="Seconds after the drain delay in which accepted requests are finished; what "
        "is left is answered 503.",
    )
    keep_alive_s: int = Field(
        default=75,
        ge=1,
        le=86_400,
        description="Seconds an idle connection stays open; longer than a proxy in front keeps it.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        Field(default="info", description="debug also logs probes and scrapes.")
    )
    docs_enabled: bool = Field(
        default=True,
        description="Serve /docs and /openapi.json.",
    )
    root_path: str = Field(
        default="",
        description="Path below which a proxy serves this, such as /heed, whether the proxy takes "
        "it off or not.",
    )

    @property
    def hosts(self) -> tuple[str, ...]:
        """`allowed_hosts`, one by one, without ports."""
        return tuple(_PORT.sub("", host) for host in _split(self.allowed_hosts))

    @property
    def origins(self) -> tuple[str, ...]:
        """`cors_origins`, one by one."""
        return _split(self.cors_origins)

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, value: str) -> str:
        path = value.rstrip("/")
        if not _PATH.fullmatch(path):
            raise ValueError(f"expected a path such as /heed; got {value!r}")
        return path

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: str) -> str:
        parse_networks(value)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, value: str) -> str:
        for host in _split(value):
            if host != "*" and not _HOST.fullmatch(host):
                raise ValueError(
                    f"expected host names such as heed.example.org, or *; got {host!r}"
                )
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: str) -> str:
        origins = _split(value)
        if "*" in origins and len(origins) > 1:
            raise ValueError("* stands for every origin: expected it alone, or origins")
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"expected origins as browsers send them, such as https://example.org or "
                    f"http://localhost:3000, in lower case and without a path; got {origin!r}"
                )
        return value

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
        if self.max_inflight_body_bytes < self.max_body_bytes:
            raise ValueError(
                f"max_inflight_body_bytes ({self.max_inflight_body_bytes}) is below max_body_bytes "
                f"({self.max_body_bytes}): such a body would never be accepted"
            )
        if self.shutdown_grace_s < self.request_timeout_s:
            raise ValueError(
                f"shutdown_grace_s ({self.shutdown_grace_s:g}) is below request_timeout_s "
                f"({self.request_timeout_s:g}): accepted requests would be cut off"
            )
        if self.port and self.port == self.admin_port:
            raise ValueError(f"port and admin_port are both {self.port}")
        return self


def _split(value: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in value.split(",") if entry.strip())


def explain_invalid(error: ValidationError) -> str:
    """One line for a person: which variable is wrong, and why."""
    reasons = []
    for problem in error.errors(include_url=False, include_input=False):
        variable = "".join(f"HEED_{str(part).upper()}: " for part in problem["loc"][:1])
        reasons.append(variable + problem["msg"].removeprefix("Value error, "))
    return "; ".join(reasons)
