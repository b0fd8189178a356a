"""`heed keys`: what is printed and written, and a running service that follows."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.http.keys import read
from service.keys_cli import app
from service.runtime.errors import HeedError

ROOT = Path(__file__).resolve().parents[2]
SERVE = "import typer; from service.cli import serve; typer.run(serve)"


def run(*arguments: object, **environment: str) -> Result:
    """The result of `heed keys` with these arguments."""
    return CliRunner().invoke(app, [*map(str, arguments)], env=environment)


def new(file: Path, *options: object) -> tuple[str, str]:
    """Make a key; the key and its id."""
    secret = run("new", "--file", file, "--client", "shop", *options).stdout.strip()
    return secret, secret.split("_")[1]


@pytest.fixture
def file(tmp_path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys.toml"


def test_new_prints_the_key_once_and_writes_only_its_hash(file):
    """The key alone on stdout, for scripts; what became of it on stderr."""
    options = ("--scopes", "classify, explain", "--rate", 50, "--burst", 9, "--models", "demo")
    result = run("new", "--file", file, "--client", "shop", "--expires", "90d", *options)
    assert result.exit_code == 0
    secret = result.stdout.strip()
    assert re.fullmatch(r"heed_\w{8}_\w{43}", secret)
    (key,) = read(file)
    assert f"Key {key.id} of shop (classify, explain, until " in result.stderr
    assert f"is in {file} as its SHA-256" in result.stderr
    assert secret.split("_")[2] not in result.stderr + file.read_text()
    assert (key.scopes, key.models) == (["classify", "explain"], ["demo"])
    assert (key.rate_limit, key.burst) == (50.0, 9)
    assert key.expires - key.created == timedelta(days=90)
    assert abs(datetime.now(UTC) - key.created) < timedelta(minutes=5)


def test_file_may_be_named_by_the_variable_of_the_service(file):
    """One name for both; without any it is an error of usage."""
    assert run("new", "--client", "a", HEED_API_KEYS_FILE=str(file)).exit_code == 0
    assert len(read(file)) == 1
    missing = run("list")
    assert missing.exit_code == 2
    assert "HEED_API_KEYS_FILE" in missing.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--scopes", "root"), "--scopes: Input should be 'classify', 'explain'"),
        (("--scopes", ","), "--scopes: List should have at least 1 item"),
        (("--rate", "-1"), "--rate: expected 0, or 1e-06 to 1,000,000 requests"),
        (("--burst", "0"), "--burst: Input should be greater than"),
        (("--expires", "soon"), "--expires: expected 12h, 90d, 8w or a day"),
        (("--expires", "99999w"), "--expires: expected 12h"),
        (("--expires", "2020-01-31"), "--expires: expected a day to come"),
        (("--models", "a\nb"), "--models: expected 1 to 64 letters"),
        (("--client", ""), "--client: expected 1 to 64 letters"),
    ],
)
def test_wrong_option_is_named_and_nothing_written(file, options, reason):
    """What was expected, in a line."""
    whose = () if "--client" in options else ("--client", "shop")
    result = run("new", "--file", file, *whose, *options)
    assert isinstance(result.exception, HeedError)
    assert str(result.exception).startswith(reason)
    assert not file.exists()


def test_list_shows_whose_and_in_which_state_but_no_secret(file):
    """Active, expired and revoked; neither a key nor a hash."""
    secret, active = new(file, "--scopes", "classify,batch", "--rate", "50")
    _, revoked = new(file)
    _, expired = new(file, "--expires", "1h", "--rate", "0", "--models", "a,b")
    content = file.read_text()
    file.write_text(re.sub(r"expires = .*", "expires = 2026-01-31", content))
    run("revoke", revoked, "--file", file)
    result = run("list", "--file", file)
    lines = {line.split()[0]: " ".join(line.split()) for line in result.stdout.splitlines()}
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert lines[active] == f"{active} shop classify, batch 50 all {today} never active"
    assert lines[revoked] == f"{revoked} shop classify default all {today} never revoked"
    assert lines[expired] == (f"{expired} shop classify no limit a, b {today} 2026-01-31 expired")
    for found in read(file):
        assert found.sha256 not in result.stdout
    assert secret.split("_")[2] not in result.stdout


def test_revoke_says_whose_key_it_was(file):
    """Twice is as once; an id that is not there is an error."""
    _, key_id = new(file)
    for _ in range(2):
        result = run("revoke", key_id, "--file", file)
        assert result.stdout.startswith(f"Key {key_id} of shop is revoked since 20")
    assert read(file)[0].revoked is not None
    unknown = run("revoke", "unknown1", "--file", file)
    assert str(unknown.exception) == f"{file}: has no key with this id; see heed keys list"


@pytest.mark.parametrize("command", ["new", "list", "revoke"])
def test_help_of_each_command_shows_an_example(command):
    """That of the command itself, to be copied."""
    assert f"Example: heed keys {command}" in " ".join(run(command, "--help").stdout.split())


@pytest.mark.e2e
def test_running_service_follows_the_file(tiny_artifact, file):
    """A key made and revoked while it runs counts, over a real socket; without one it is 401."""
    _, first = new(file)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, "--model", str(tiny_artifact), "--port", "0"],
        cwd=ROOT,
        env=os.environ | {"HEED_API_KEYS_FILE": str(file)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
            assert status(url) == 401
            secret, key_id = new(file)
            wait_for(200, url, secret)
            run("revoke", key_id, "--file", file)
            wait_for(401, url, secret)
        finally:
            process.kill()
    assert [key.id for key in read(file)] == [first, key_id]


def wait_for(expected: int, url: str, secret: str) -> None:
    """Ask until the answer has this status; 5 times the promised second is too long."""
    deadline = time.monotonic() + 5
    while status(url, secret) != expected:
        assert time.monotonic() < deadline


def status(url: str, secret: str | None = None) -> int:
    """Of `GET /v1/models`."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    request = urllib.request.Request(f"{url}/v1/models", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.e2e
def test_service_with_an_unusable_key_file_exits_with_2(tiny_artifact, file):
    """One line that names the file and the entry."""
    file.write_text("[[keys]]\n")
    done = subprocess.run(
        [sys.executable, "-c", SERVE, "--model", str(tiny_artifact), "--port", "0"],
        cwd=ROOT,
        env=os.environ | {"HEED_API_KEYS_FILE": str(file)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"heed serve: {file}: entry 1: id: Field required\n"
