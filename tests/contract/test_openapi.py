"""The OpenAPI document and the service say the same: a third of HEED_FUZZ_CASES requests."""

import json
import os
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
import schemathesis
from schemathesis.engine import from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished

from service.app import create_app
from service.http.key_edit import add, make_secret
from service.http.keys import Key
from service.settings import Settings

ROOT = Path(__file__).parents[2]
CASES = int(os.environ.get("HEED_FUZZ_CASES", "1000"))
CLASSIFY_STATUSES = {
    *("200", "400", "401", "403", "404", "413", "415", "422", "429", "500", "503", "504")
}


def document() -> dict:
    """What the service says of itself with its default settings."""
    return create_app(Settings(model="artifact")).openapi()


def run_engine(artifact: Path, max_examples: int, headers: dict[str, str], **changed) -> Counter:
    """Let Schemathesis try everything that it knows, in process; statuses of the answers.

    Its checks: no 5xx, and status, header fields, media type and schema as documented; what is
    valid is accepted and what is not is refused, other methods and missing keys too.
    """
    settings = Settings(model=artifact, execution_provider="cpu", log_level="error", **changed)
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "headers": headers,
            "generation": {"max-examples": max_examples, "database": "none"},
            # 504 is what a client gets that asks for an answer within 1 ms.
            "checks": {"not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "504"]}},
        }
    )
    app = create_app(settings)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config, headers=headers)
    statuses: Counter = Counter()
    failures = []
    for event in from_schema(schema).execute():
        assert not isinstance(event, NonFatalError), event.info
        if isinstance(event, ScenarioFinished):
            recorder = event.recorder
            statuses.update(
                answer.response.status_code for answer in recorder.interactions.values()
            )
            failures += [
                (recorder.cases[case_id].value.as_curl_command(), check.name)
                for case_id, checks in recorder.checks.items()
                for check in checks
                if check.failure_info is not None
            ]
    assert failures == []
    return statuses


def test_service_keeps_to_its_document(tiny_artifact):
    """Examples, edge cases, and thousands of valid and invalid requests."""
    statuses = run_engine(tiny_artifact, CASES // 4, {})
    assert sum(statuses.values()) >= CASES // 4
    assert statuses.keys() >= {200, 400, 405, 415, 422}


def test_service_with_keys_keeps_to_its_document(tiny_artifact, tmp_path):
    """Also: without the key, or with another, no documented route answers."""
    key_id, secret, sha256 = make_secret()
    created = datetime(2026, 1, 1, tzinfo=UTC)
    file = tmp_path / "keys.toml"
    scopes = ["classify", "explain", "batch"]
    add(file, Key(id=key_id, sha256=sha256, client="test", scopes=scopes, created=created))
    headers = {"Authorization": f"Bearer {secret}"}
    statuses = run_engine(tiny_artifact, CASES // 50, headers, api_keys_file=file)
    assert statuses.keys() >= {200, 400, 401}


def test_every_answer_is_documented_with_an_example():
    """Each status of classify, as problem+json with its header fields; no dangling reference."""
    whole = document()
    responses = whole["paths"]["/v1/classify"]["post"]["responses"]
    assert responses.keys() == CLASSIFY_STATUSES
    for status, response in responses.items():
        assert "X-Request-ID" in response["headers"]
        assert ("Retry-After" in response["headers"]) == (status in {"429", "503"})
        if status != "200":
            (media,) = response["content"].items()
            assert media[0] == "application/problem+json"
            for example in media[1]["examples"].values():
                assert example["value"]["status"] == int(status)
    for reference in re.findall(r'"\$ref":\s*"#/([^"]+)"', json.dumps(whole)):
        target = whole
        for part in reference.split("/"):
            target = target[part]  # a KeyError is a reference to nothing
    assert whole["components"]["schemas"]["ClassifyResponse"]["examples"]


def test_request_is_documented_with_its_limits_and_header_fields():
    """Both forms of `inputs`, and what is read before the body."""
    settings = Settings(model="artifact", max_texts_per_request=7, max_text_chars=70)
    operation = create_app(settings).openapi()["paths"]["/v1/classify"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert len(body["examples"]) == 2
    text, texts = body["properties"]["inputs"]["oneOf"]
    assert texts["maxItems"] == 7
    assert text["maxLength"] == texts["items"]["maxLength"] == 70
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names == {"X-Request-Timeout-Ms", "X-Request-Priority"}


@pytest.mark.parametrize(("keys", "optional"), [(None, True), (Path("keys.toml"), False)])
def test_keys_are_documented_where_they_are_asked_for(keys, optional, monkeypatch):
    """Every path but the probes; optional as long as no key file is configured."""
    monkeypatch.setattr("service.app.auth.install", lambda *_: None)  # would read the file
    whole = create_app(Settings(model="artifact", api_keys_file=keys)).openapi()
    for path, operations in whole["paths"].items():
        for operation in operations.values():
            security = operation.get("security", [])
            assert bool(security) == (not path.startswith("/health/"))
            assert ({} in security) == (optional and bool(security))


def test_committed_document_is_current():
    """`make openapi` writes it; a change of the interface shows in its difference."""
    committed = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))
    assert committed == document()
