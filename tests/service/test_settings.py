"""Settings: documented, checked, and refused in one line."""

import pytest
from pydantic import ValidationError

from service.http.ratelimit import Quota, RateLimiter, header_fields
from service.settings import MAX_RATE, MIN_RATE, Settings, explain_invalid


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is(name):
    """The table in the README is made of this."""
    field = Settings.model_fields[name]
    assert field.description
    assert field.description.endswith(".")
    assert field.is_required() == (name == "model")


def test_environment_sets_and_arguments_win(monkeypatch, tmp_path):
    """`HEED_` and the name."""
    monkeypatch.setenv("HEED_MODEL", str(tmp_path))
    monkeypatch.setenv("HEED_PORT", "9000")
    monkeypatch.setenv("HEED_MAX_BATCH_SIZE", "8")
    settings = Settings(port=9001)
    assert (settings.model, settings.port, settings.max_batch_size) == (tmp_path, 9001, 8)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"model": None}, "HEED_MODEL: "),
        ({"port": 70_000}, "HEED_PORT: Input should be less than or equal to 65535"),
        ({"max_batch_size": 0}, "HEED_MAX_BATCH_SIZE: "),
        ({"execution_provider": "abacus"}, "HEED_EXECUTION_PROVIDER: Input should be 'auto'"),
        ({"max_queue_size": 10}, "max_queue_size (10) is below max_texts_per_request (64)"),
        ({"max_body_bytes": 10}, "max_body_bytes (10) is below max_text_chars (20000)"),
        ({"shutdown_grace_s": 1}, "shutdown_grace_s (1) is below request_timeout_s (10)"),
        ({"admin_port": 8000}, "port and admin_port are both 8000"),
        ({"admin_port": 8000, "admin_host": "192.0.2.1"}, "port and admin_port are both 8000"),
        ({"trusted_proxies": "10.0.0.0/8, proxy"}, "HEED_TRUSTED_PROXIES: expected addresses or"),
        ({"trusted_proxies": "10.0.0.1/8"}, "10.0.0.1/8 has host bits set"),
        ({"trusted_proxies": "*"}, "HEED_TRUSTED_PROXIES: expected addresses or networks"),
        ({"cors_origins": "*, https://a.example"}, "HEED_CORS_ORIGINS: * stands for every origin"),
        ({"cors_origins": "null"}, "HEED_CORS_ORIGINS: expected origins as browsers send them"),
        ({"cors_origins": "https://a.example/"}, "without a path; got 'https://a.example/'"),
        ({"cors_origins": "https://A.example"}, "in lower case"),
        ({"cors_origins": "https://*.example"}, "expected origins"),
        ({"cors_origins": "a.example"}, "expected origins"),
    ],
)
def test_bad_value_or_combination_is_refused_in_one_line(given, reason):
    """Which setting, and why."""
    with pytest.raises(ValidationError) as caught:
        Settings(**({"model": "artifact"} | given))
    line = explain_invalid(caught.value)
    assert reason in line
    assert "\n" not in line


NUMBERS = [
    name
    for name, field in Settings.model_fields.items()
    if field.annotation in (int, float) or name == "admin_port"
]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400", "9" * 400, "-1"])
def test_number_beyond_all_measure_is_refused(monkeypatch, tmp_path, name, value):
    """At start; later it would break the arithmetic of a request."""
    variable = f"HEED_{name.upper()}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError) as caught:
        Settings(model=tmp_path)
    assert explain_invalid(caught.value).startswith(f"{variable}: ")


@pytest.mark.parametrize("rate", [MIN_RATE, MAX_RATE, 0.0])
def test_every_rate_that_is_accepted_can_be_counted(rate):
    """Whole seconds in header fields, for the smallest and the largest burst."""
    assert Settings(model="artifact", key_rate_limit=rate).key_rate_limit == rate
    for burst in (1, 1_000_000) if rate else ():
        quota = Quota(rate, burst)
        assert header_fields(quota, RateLimiter().take("a", quota, 1e6))


@pytest.mark.parametrize("rate", [1e-320, 1e-7, 1e7])
def test_rate_that_cannot_be_counted_is_refused(rate):
    """What was expected instead."""
    with pytest.raises(ValidationError, match="expected 0, or 1e-06 to 1,000,000 requests"):
        Settings(model="artifact", key_rate_limit=rate)


def test_lists_are_written_with_commas():
    """Spaces around them do not matter, and nothing is an empty list."""
    settings = Settings(
        model="artifact",
        trusted_proxies=" 10.0.0.0/8, ::1 ",
        cors_origins="https://a.example , http://localhost:3000, http://[::1]:8080",
    )
    assert settings.origins == (
        "https://a.example",
        "http://localhost:3000",
        "http://[::1]:8080",
    )
    assert Settings(model="artifact", cors_origins=" ,").origins == ()


@pytest.mark.parametrize("name", sorted(Settings.model_fields.keys() - {"model"}))
def test_every_default_can_be_set_by_its_variable(monkeypatch, tmp_path, name):
    """As text, which is all that an environment has."""
    default = Settings.model_fields[name].default
    if default is None:
        return
    monkeypatch.setenv(f"HEED_{name.upper()}", str(default))
    assert getattr(Settings(model=tmp_path), name) == default


def test_status_of_refusals_is_set_by_its_variable(monkeypatch, tmp_path):
    """One of two numbers."""
    monkeypatch.setenv("HEED_SHED_STATUS", "429")
    assert Settings(model=tmp_path).shed_status == 429


INJECTED = {
    "HEED_SERVICE_HOST": "10.0.0.7",
    "HEED_SERVICE_PORT": "8000",
    "HEED_SERVICE_PORT_HTTP": "8000",
    "HEED_PORT": "tcp://10.0.0.7:8000",
    "HEED_PORT_8000_TCP": "tcp://10.0.0.7:8000",
    "HEED_PORT_8000_TCP_PROTO": "tcp",
    "HEED_PORT_8000_TCP_PORT": "8000",
    "HEED_PORT_8000_TCP_ADDR": "10.0.0.7",
    "HEED_ADMIN_SERVICE_HOST": "fd00::1",
    "HEED_ADMIN_PORT": "udp://[fd00::1]:9000",
    "HEED_ADMIN_PORT_9000_UDP": "udp://[fd00::1]:9000",
    "HEED_MODEL_PORT": "tcp://10.0.0.8:80",
    "HEED_NAME": "/web/heed",
    "HEED_ENV_MODEL": "x",
}


def test_what_kubernetes_and_docker_inject_is_no_setting(monkeypatch, tmp_path):
    """For services called heed, heed-admin and heed-model, and a link; arguments still win."""
    for name, value in INJECTED.items():
        monkeypatch.setenv(name, value)
    expected = Settings.model_construct(model=tmp_path)
    assert Settings(model=tmp_path).model_dump() == expected.model_dump()
    assert Settings(model=tmp_path, port=9000, admin_port=9001).port == 9000


def test_value_that_only_looks_injected_is_refused(monkeypatch, tmp_path):
    """No word of a person is passed over."""
    monkeypatch.setenv("HEED_PORT", "http://10.0.0.7:8000")
    with pytest.raises(ValidationError, match="valid integer"):
        Settings(model=tmp_path)


@pytest.mark.parametrize("name", sorted(Settings.model_fields.keys() - {"model"}))
@pytest.mark.parametrize("value", ["", " ", "\t\n"])
def test_empty_variable_is_not_set(monkeypatch, tmp_path, name, value):
    """As shells and compose files pass on what they were not given."""
    monkeypatch.setenv(f"HEED_{name.upper()}", value)
    assert getattr(Settings(model=tmp_path), name) == Settings.model_fields[name].default


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("log_level", "INFO", "info"),
        ("log_level", " Warning ", "warning"),
        ("execution_provider", "CPU", "cpu"),
        ("docs_enabled", "FALSE", False),
        ("shed_status", " 429 ", 429),
        ("port", " 9000\n", 9000),
        ("request_timeout_s", " 5 ", 5.0),
        ("host", " 0.0.0.0 ", "0.0.0.0"),  # noqa: S104  nothing listens
        ("allowed_hosts", " a , b ", "a , b"),
    ],
)
def test_case_and_blanks_around_a_value_do_not_matter(monkeypatch, tmp_path, name, value, meant):
    """What is meant is clear."""
    monkeypatch.setenv(f"HEED_{name.upper()}", value)
    assert getattr(Settings(model=tmp_path), name) == meant


def test_model_that_is_empty_is_missing(monkeypatch):
    """And no folder of that name."""
    monkeypatch.setenv("HEED_MODEL", " ")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert explain_invalid(caught.value) == "HEED_MODEL: Field required"
