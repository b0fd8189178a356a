"""The schema of the result file: for those who read it with other tools."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from loadtest import result
from loadtest.result import Result
from tests.loadtest.examples import EXAMPLES

SCHEMA = Path(result.__file__).with_name("result.schema.json")


def test_schema_is_that_of_the_model() -> None:
    """To write it again: `json.dumps(Result.model_json_schema(), indent=2)` and a newline."""
    assert SCHEMA.read_text() == json.dumps(Result.model_json_schema(), indent=2) + "\n"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_result_follows_the_schema(name: str) -> None:
    """As it is saved; and what is not a result does not follow it."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    Draft202012Validator.check_schema(validator.schema)
    saved = json.loads(EXAMPLES[name]().to_json())
    validator.validate(saved)
    assert not validator.is_valid(saved | {"extra": 1})
