"""The GitHub workflow is one that GitHub would take; it has not run."""

import subprocess
import sys
from pathlib import Path

import pytest

WORKFLOWS = sorted((Path(__file__).parents[1] / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_follows_the_schema_of_github(path: Path) -> None:
    """The schema comes with check-jsonschema; nothing is downloaded."""
    command = ("check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path))
    checked = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
