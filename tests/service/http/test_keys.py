"""The key file: what is accepted, how a key is found, and how changes arrive and are made."""

import ast
import json
import multiprocessing
import os
import re
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

import service.http
from service.http import keys as keys_module
from service.http.key_edit import add, make_secret, revoke
from service.http.keys import Key, KeyFileError, Keys, ScopeName, parse, read, warn_if_open
from service.logs import make_logger

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LOGGER = make_logger("info")


def entry(client: str = "shop", **changed) -> tuple[str, Key]:
    """A new key and what the file holds of it."""
    key_id, secret, sha256 = make_secret()
    fields = {"id": key_id, "sha256": sha256, "scopes": ["classify"], "created": NOW}
    return secret, Key(client=client, **(fields | changed))


def text(**changed: str) -> str:
    """An entry as a person writes it; None leaves a field out."""
    fields = {
        "id": '"4pQx9aZt"',
        "client": '"shop"',
        "sha256": f'"{"0f" * 32}"',
        "scopes": '["classify"]',
        "created": "2026-05-01T10:00:00Z",
    } | changed
    lines = [f"{name} = {value}" for name, value in fields.items() if value is not None]
    return "\n".join(["[[keys]]", *lines, ""])


def test_key_is_256_random_bits_with_its_id_in_it():
    """Recognisable for scanners, and every one another; only its SHA-256 is kept."""
    made = [make_secret() for _ in range(200)]
    for key_id, secret, sha256 in made:
        assert re.fullmatch(rf"heed_{key_id}_[0-9A-Za-z]{{43}}", secret)
        assert re.fullmatch("[0-9a-f]{64}", sha256)
    assert len({secret for _, secret, _ in made}) == 200
    assert 62**43 > 2**256


def test_file_written_is_file_read(tmp_path):
    """Every field comes back, odd client names too."""
    path = tmp_path / "keys.toml"
    _, plain = entry()
    _, full = entry(
        "Käse + so",
        scopes=list(get_args(ScopeName)),
        expires=NOW + timedelta(days=1),
        rate_limit=2.5,
        burst=7,
        models=["demo", "tickets"],
    )
    add(path, plain)
    add(path, full)
    assert read(path) == [plain, full]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_minimal_and_generous_entries_are_accepted():
    """No keys at all, days instead of times, whole numbers for rates."""
    assert parse(b"", "f") == []
    (key,) = parse(text(expires="2026-06-01", rate_limit="50").encode(), "f")
    assert key.expires == datetime(2026, 6, 1, tzinfo=UTC)
    assert key.rate_limit == 50.0


def test_example_of_the_documentation_is_accepted():
    """With every field that there is."""
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text("utf-8")
    (key,) = parse(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1].encode(), "f")
    assert key.model_fields_set == Key.model_fields.keys()


BOMBS = {
    "nested arrays": (b"keys = " + b"[" * 5000, "no TOML: it is nested too deep"),
    "nested tables": (b"keys = " + b"{a=" * 5000, "no TOML: it is nested too deep"),
    "digits": (b"keys = " + b"1" * 5000, "no TOML: it has a number of too many digits"),
    "deep name": (b"[" + b".".join([b"a"] * 5000) + b"]\n", "line 1 has a name of more than 100"),
    "deep key": (b"\n" + b".".join([b"a"] * 5000) + b" = 1", "line 2 has a name of more than 100"),
    "NUL": (b"[[keys]]\nid = 'a\0b'", "no TOML: "),
    "UTF-16": ("[[keys]]".encode("utf-16"), "byte 0 is not UTF-8"),
    "huge": (b"# \n" * 333_334, "has more than 1000000 bytes"),
    "day that is none": (b"[[keys]]\ncreated = 2026-02-31", "no TOML: "),
}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[[keys]\n", "f: no TOML: "),
        (b'\n\n[[keys]]\nid = "a\n', "line 4"),
        (b"\xff", "f: byte 0 is not UTF-8"),
        (b"keys = 3", "f: expected tables [[keys]] and nothing else"),
        (b"[other]", "f: expected tables [[keys]] and nothing else"),
        (b"keys = [3]", "f: entry 1: expected a table"),
        (text(sha256=None), "f: entry 1: sha256: Field required"),
        (text(sha256='"heed_4pQx9aZt_CANARY"'), "f: entry 1: sha256: expected 64 hex digits"),
        (text(id='"../etc"'), "f: entry 1: id: expected 8 letters or digits"),
        (text(client='""'), "f: entry 1: client: expected 1 to 64 letters"),
        (text(scopes='["root"]'), "f: entry 1: scopes: Input should be 'classify', "),
        (text(scopes="[]"), "f: entry 1: scopes: List should have at least 1 item"),
        (text(expire="2026-06-01"), "f: entry 1: has an unknown field; known: id, client,"),
        (text(expires="2026-06-01T00:00:00"), "f: entry 1: expires: Input should have timezone"),
        (text(expires='"2026-06-01"'), "f: entry 1: expires: Input should be a valid datetime"),
        (text(rate_limit="-1"), "f: entry 1: rate_limit: expected 0, or 1e-06 to 1,000,000"),
        (text(rate_limit="1e-320"), "f: entry 1: rate_limit: expected 0, or 1e-06 to"),
        (text(rate_limit="2e6"), "f: entry 1: rate_limit: expected 0, or 1e-06 to"),
        (text(rate_limit="inf"), "f: entry 1: rate_limit: Input should be a finite number"),
        (text(rate_limit="nan"), "f: entry 1: rate_limit: Input should be a finite number"),
        (text(rate_limit="true"), "f: entry 1: rate_limit: Input should be a valid number"),
        (text(burst="0"), "f: entry 1: burst: Input should be greater than or equal to 1"),
        (text(models='["\\n"]'), "f: entry 1: models: expected 1 to 64 letters"),
        (text() + text(), "f: entries 1 and 2 have the same id"),
        (b"#" * 1_000_001, "f: has more than 1000000 bytes"),
        *((content, reason) for content, reason in BOMBS.values()),
        (text(rate_limit="9" * 4000), "f: entry 1: rate_limit: "),
        (text(burst="9" * 4000), "f: entry 1: burst: "),
        (text(models="[" * 200 + "]" * 200), "f: entry 1: models: "),
    ],
)
def test_unusable_file_is_refused_in_one_line_that_says_where(content, reason):
    """The line or the entry, what was expected, and never the value: it could be a key."""
    with pytest.raises(KeyFileError) as caught:
        parse(content.encode() if isinstance(content, str) else content, "f")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    """And not waited for."""
    path = tmp_path / "keys.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(KeyFileError, match=r"No such file|is not a file"):
        Keys(path, LOGGER, 0.0)


def test_key_is_found_and_any_change_of_it_is_not(tmp_path):
    """One character more, less or other; the id or the hash alone; other bytes than ASCII."""
    path = tmp_path / "keys.toml"
    secret, key = entry()
    add(path, key)
    keys = Keys(path, LOGGER, 0.0)
    assert keys.verify(secret.encode(), 0.0) == key
    other = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    unknown_id = make_secret()[1]
    wrong = [secret[:-1], secret + "a", other, key.id, key.sha256, unknown_id, "", secret.upper()]
    assert [keys.verify(given.encode(), 0.0) for given in wrong] == [None] * len(wrong)
    assert keys.verify(b"\xff" * len(secret), 0.0) is None


def test_client_may_have_several_keys_until_the_old_one_is_revoked(tmp_path):
    """Rotation: make a new key, hand it out, revoke the old one; it counts within a second."""
    path = tmp_path / "keys.toml"
    (old_secret, old), (new_secret, new) = entry(), entry()
    add(path, old)
    keys = Keys(path, LOGGER, 0.0)
    add(path, new)
    assert keys.verify(new_secret.encode(), 0.999) is None  # not looked at the file yet
    assert keys.verify(new_secret.encode(), 1.0) == new
    assert keys.verify(old_secret.encode(), 1.0).state(NOW) == "active"
    revoke(path, old.id, NOW)
    assert keys.verify(old_secret.encode(), 2.0).state(NOW) == "revoked"
    assert keys.verify(new_secret.encode(), 2.0).state(NOW) == "active"


def test_file_is_looked_at_once_a_second_and_parsed_when_it_changed(tmp_path, monkeypatch):
    """One `stat` a second, whatever the rate of requests."""
    path = tmp_path / "keys.toml"
    secret, key = entry()
    add(path, key)
    keys = Keys(path, LOGGER, 0.0)
    calls = []
    look, parse_file = keys_module.os.stat, keys_module.parse
    monkeypatch.setattr(keys_module.os, "stat", lambda *a: calls.append("stat") or look(*a))
    monkeypatch.setattr(keys_module, "parse", lambda *a: calls.append("parse") or parse_file(*a))
    for step in range(300):
        keys.verify(secret.encode(), step / 100)
    monkeypatch.undo()
    assert calls == ["stat", "stat"]


@pytest.mark.parametrize("kind", BOMBS)
def test_file_that_would_harm_its_reader_leaves_the_old_keys(tmp_path, capfd, kind):
    """No request fails for it, and none is held up."""
    path = tmp_path / "keys.toml"
    secret, key = entry()
    add(path, key)
    keys = Keys(path, make_logger("info"), 0.0)
    path.write_bytes(BOMBS[kind][0])
    assert keys.verify(secret.encode(), 1.0) == key
    assert "api_keys_not_read" in capfd.readouterr().err
    with pytest.raises(KeyFileError, match=r"keys\.toml: "):
        Keys(path, LOGGER, 0.0)


def test_file_that_breaks_leaves_the_old_keys_and_one_line_in_the_log(tmp_path, capfd):
    """Missing, half written, unusable: each is said once; a sound file is taken again."""
    path = tmp_path / "keys.toml"
    secret, key = entry()
    add(path, key)
    sound = path.read_text()
    keys = Keys(path, make_logger("info"), 0.0)
    capfd.readouterr()
    now = 0.0
    for content in (sound[:-5], sound.replace("sha256", "sha"), None):
        path.unlink() if content is None else path.write_text(content)
        for _ in range(3):
            now += 1.0
            assert keys.verify(secret.encode(), now) == key
        (line,) = map(json.loads, capfd.readouterr().err.splitlines())
        assert (line["event"], line["level"], line["kept"]) == ("api_keys_not_read", "error", 1)
        assert str(path) in line["reason"]
        assert key.sha256 not in str(line)
    path.write_text(sound)
    assert keys.verify(secret.encode(), now + 1.0) == key
    (line,) = map(json.loads, capfd.readouterr().err.splitlines())
    assert (line["event"], line["active"], line["of"]) == ("api_keys_read", 1, 1)


def test_mounted_secret_that_is_swapped_by_a_link_is_read_again(tmp_path):
    """Orchestrators mount a folder of links and turn these; nothing is ever written by us."""
    (secret, key), (_, other) = entry(), entry()
    for folder, content in (("one", other), ("two", key)):
        (tmp_path / folder).mkdir()
        add(tmp_path / folder / "keys.toml", content)
        (tmp_path / folder / "keys.toml").chmod(0o400)
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "keys.toml").symlink_to("data/keys.toml")
    keys = Keys(tmp_path / "keys.toml", LOGGER, 0.0)
    assert keys.verify(secret.encode(), 0.0) is None
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").replace(tmp_path / "data")
    assert keys.verify(secret.encode(), 1.0) == key


def test_state_follows_the_calendar():
    """Active until the moment of expiry; revoked counts more than expired."""
    _, key = entry(expires=NOW)
    assert key.state(NOW - timedelta(microseconds=1)) == "active"
    assert key.state(NOW) == "expired"
    assert entry(expires=NOW, revoked=NOW)[1].state(NOW) == "revoked"


def test_quota_of_the_entry_counts_before_the_default():
    """0 is no limit in both places; a burst is what a second allows unless given."""
    assert entry()[1].quota(0.0) is None
    assert entry()[1].quota(2.5).burst == 3
    assert entry(rate_limit=0)[1].quota(2.5) is None
    quota = entry(rate_limit=0.1)[1].quota(2.5)
    assert (quota.rate, quota.burst) == (0.1, 1)
    assert entry(burst=9)[1].quota(2.5).burst == 9


def test_edits_leave_comments_order_owner_and_mode(tmp_path):
    """The file belongs to people; revoking adds a line to an entry, twice is as once."""
    path = tmp_path / "keys.toml"
    path.write_text(f"# of the shop\n{text()}# the end, without a newline")
    path.chmod(0o640)
    _, key = entry("other")
    add(path, key)
    revoke(path, "4pQx9aZt", NOW)
    content = path.read_text()
    revoked = revoke(path, "4pQx9aZt", NOW + timedelta(days=1))
    assert path.read_text() == content
    assert revoked.revoked == NOW
    assert content.startswith('# of the shop\n[[keys]]\nid = "4pQx9aZt"\nrevoked = 2026-05-01T')
    assert "# the end, without a newline\n\n[[keys]]\n" in content
    assert [found.id for found in read(path)] == ["4pQx9aZt", key.id]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [found.name for found in tmp_path.iterdir()] == ["keys.toml"]


def test_edit_that_cannot_be_made_changes_nothing(tmp_path):
    """An unknown id, a file that is wrong already, a form of TOML that has no line to edit."""
    path = tmp_path / "keys.toml"
    inline = "keys = [{" + text().replace("[[keys]]\n", "").strip().replace("\n", ", ") + "}]"
    cases = [
        (text(), lambda: revoke(path, "unknown1", NOW), "has no key with this id"),
        (text() + "x", lambda: add(path, entry()[1]), "no TOML"),
        (inline, lambda: revoke(path, "4pQx9aZt", NOW), "found no line with this id; add `rev"),
        (inline, lambda: add(path, entry()[1]), "no TOML"),
    ]
    for content, edit, reason in cases:
        path.write_text(content)
        with pytest.raises(KeyFileError, match=reason):
            edit()
        assert path.read_text() == content
    with pytest.raises(KeyFileError, match="No such file"):
        revoke(tmp_path / "none.toml", "4pQx9aZt", NOW)
    assert not (tmp_path / "none.toml").exists()


def _add_many(path: Path, count: int) -> None:
    for _ in range(count):
        add(path, entry()[1])


def test_two_that_add_at_once_lose_nothing(tmp_path):
    """Each waits for the other, also while the file is replaced under the lock."""
    path = tmp_path / "keys.toml"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_many, args=(path, 20)) for _ in range(4)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        if path.exists():
            read(path)  # whole at every moment
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(read(path)) == 80


def test_no_digest_or_key_is_compared_with_an_operator():
    """`==` stops at the first byte that differs; only `hmac.compare_digest` may compare these."""
    secretive = re.compile("digest|sha256|secret|given|token|credential|signature_of")
    folder = Path(service.http.__file__).parent
    constant_time = 0
    for name in ("keys.py", "key_edit.py", "auth.py"):
        for node in ast.walk(ast.parse((folder / name).read_text())):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                compared = {
                    inner.id if isinstance(inner, ast.Name) else inner.attr
                    for side in sides
                    if not isinstance(side, ast.Call)  # len(given) is public
                    for inner in ast.walk(side)
                    if isinstance(inner, ast.Name | ast.Attribute)
                }
                assert not any(map(secretive.search, compared)), f"{name}:{node.lineno}"
            constant_time += isinstance(node, ast.Attribute) and node.attr == "compare_digest"
    assert constant_time == 1


def test_verifying_takes_microseconds_and_no_longer_with_many_keys(tmp_path):
    """CPU time, with a margin of 5 to the 5 us that a request may cost."""
    path = tmp_path / "keys.toml"
    secret, key = entry()
    add(path, key)
    block = "\n".join(text(id=f'"{number:08}"') for number in range(500))
    path.write_text(path.read_text() + block)
    keys, given = Keys(path, LOGGER, 0.0), secret.encode()
    best_s = min(cpu_of(keys, given) for _ in range(5))
    assert best_s < 25e-6


def cpu_of(keys: Keys, given: bytes) -> float:
    """Seconds of CPU for one verification."""
    started = time.process_time()
    for _ in range(2000):
        keys.verify(given, 0.0)
    return (time.process_time() - started) / 2000


EVERYWHERE = "0.0.0.0"  # noqa: S104  nothing is bound


@pytest.mark.parametrize(
    ("changed", "warned"),
    [
        ({"host": "127.0.0.1"}, []),
        ({"host": "::1"}, []),
        ({"host": "localhost", "admin_port": 0}, []),
        ({"host": EVERYWHERE}, ["classify"]),
        ({"host": "::", "admin_port": 0}, ["classify"]),
        ({"host": "heed.internal"}, ["classify"]),
        ({"admin_host": EVERYWHERE}, []),
        ({"admin_host": EVERYWHERE, "admin_port": 0}, ["change the model"]),
        ({"host": EVERYWHERE, "admin_host": EVERYWHERE, "api_keys_file": Path("keys.toml")}, []),
    ],
)
def test_open_service_says_so(settings, capfd, changed, warned):
    """No keys and an address that others reach: a warning for each port."""
    warn_if_open(settings.model_copy(update=changed), make_logger("info"))
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["open_to_everybody"] * len(warned)
    for line, what in zip(lines, warned, strict=True):
        assert f"everybody who reaches this port may {what};" in line["detail"]
