"""Variables that no setting has are named in the log, as most are slips of the pen."""

import json

import pytest

from service.environment import unknown, warn_if_unknown
from service.logs import make_logger
from service.settings import Settings
from tests.service.test_settings import INJECTED


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HEED_MAX_QUEU", "HEED_MAX_QUEUE_SIZE"),
        ("HEED_MAX_QUEU_SIZE", "HEED_MAX_QUEUE_SIZE"),
        ("heed_prot", "HEED_PORT"),
        ("HEED_API_KEY_FILE", "HEED_API_KEYS_FILE"),
        ("HEED_WARP_FACTOR", None),
    ],
)
def test_unknown_variable_is_named_with_the_one_that_was_meant(name, meant):
    """If one is near."""
    assert unknown([name]) == {name.upper(): meant}


def test_variables_that_have_a_reader_are_known():
    """Every setting in any case, other commands, what Kubernetes adds, and foreign names."""
    names = [f"HEED_{name}" for name in Settings.model_fields]
    names += ["HEED_API_KEY", "HEED_TRACEBACK", "HEED_FUZZ_CASES", "PATH", "HEEDLESS"]
    names += ["HEED_SERVICE_HOST", "HEED_SERVICE_PORT", "HEED_SERVICE_PORT_HTTP", "HEED_PORT"]
    names += ["HEED_PORT_8000_TCP", "HEED_PORT_8000_TCP_ADDR", "HEED_ADMIN_PORT_9000_TCP_PROTO"]
    assert unknown(names) == {}


def test_warning_names_the_variable_and_never_its_value(capfd):
    """It may be a secret."""
    warn_if_unknown({"HEED_MAX_QUEU": "CANARY"}, make_logger("warning"))
    (line,) = map(json.loads, capfd.readouterr().err.splitlines())
    assert (line["event"], line["level"]) == ("unknown_setting", "warning")
    assert (line["name"], line["meant"]) == ("HEED_MAX_QUEU", "HEED_MAX_QUEUE_SIZE")
    assert "CANARY" not in str(line)


def test_settings_that_an_orchestrator_took_are_one_line_and_no_slip(capfd):
    """A service called heed takes HEED_PORT, one called heed-admin HEED_ADMIN_PORT."""
    warn_if_unknown(INJECTED, make_logger("warning"))
    (line,) = map(json.loads, capfd.readouterr().err.splitlines())
    assert (line["event"], line["level"]) == ("injected_setting", "warning")
    assert line["names"] == ["HEED_ADMIN_PORT", "HEED_PORT"]
    assert "10.0.0.7" not in str(line)
