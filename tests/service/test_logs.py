"""What a log line may hold."""

import json
import logging
import re

import pytest

from service.logs import ForwardHandler, frames, make_logger, request_id


@pytest.mark.parametrize("given", [None, b"", b"a b", b"x\n", b"{}", b"x" * 65, "é".encode()])
def test_harmful_request_id_is_replaced(given):
    """By 32 hex digits."""
    assert re.fullmatch(r"[0-9a-f]{32}", request_id(given))


def test_lines_are_json_with_level_and_time(capfd):
    """One object a line; below the level nothing is written."""
    logger = make_logger("info")
    logger.debug("hidden")
    logger.info("request", status=200)
    (line,) = capfd.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["status"]) == ("request", "info", 200)
    assert entry["timestamp"].endswith("Z")


def test_terminal_gets_readable_lines(monkeypatch, capfd):
    """For people at a shell."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    make_logger("info").info("request", status=200)
    line = capfd.readouterr().err
    assert "request" in line
    assert not line.startswith("{")


HOSTILE = "a\x1b[31m\x9b2J\u202e\u2028b"


@pytest.mark.parametrize("tty", [False, True])
def test_values_of_others_command_no_terminal(monkeypatch, capfd, tty):
    """Nor do they make a second line; the JSON is the same JSON."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: tty)
    make_logger("info").info("model_refused", model=HOSTILE)
    line = re.sub(r"\x1b\[[\d;]*m", "", capfd.readouterr().err) if tty else capfd.readouterr().err
    assert line.removesuffix("\n").isprintable()
    assert r"a\u001b[31m\u009b2J\u202e\u2028b" in line
    if not tty:
        assert json.loads(line)["model"] == HOSTILE


def test_path_that_is_no_utf8_is_logged(capfd):
    """Its odd bytes are spelled out; a log line is not lost for them."""
    make_logger("info").info("model_refused", path="a\udcff")
    assert json.loads(capfd.readouterr().err)["path"] == r"a\udcff"


def test_frames_say_where_without_saying_what():
    """Causes too, and no message: it may quote a text."""

    def fail() -> None:
        try:
            raise ValueError("CANARY")
        except ValueError as error:
            raise RuntimeError("CANARY") from error

    with pytest.raises(RuntimeError) as caught:
        fail()
    lines = frames(caught.value)
    assert [line for line in lines if not line.startswith(" ")] == ["RuntimeError", "ValueError"]
    assert "CANARY" not in "".join(lines)
    assert any(line.endswith("in fail") for line in lines)


def test_records_of_other_loggers_are_forwarded_without_traceback(capfd):
    """Warnings of uvicorn in our form."""
    logger = logging.Logger("uvicorn.error")
    logger.addHandler(ForwardHandler(make_logger("warning")))
    try:
        raise ValueError("CANARY")
    except ValueError:
        logger.exception("it failed")
    logger.info("hidden")
    (line,) = capfd.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "it failed"
    assert "CANARY" not in line
