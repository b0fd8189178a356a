"""deploy/release-gate.sh: what it hands to the gate, and that the gate's exit code is its own."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "release-gate.sh"
HEED = """#!/bin/sh
if [ "$1" = serve ]; then
    echo "Heed on http://127.0.0.1:1234 (docs: http://127.0.0.1:1234/docs)"
    exec sleep 60
fi
echo "$@"
exit "$GATE_EXIT_CODE"
"""


@pytest.fixture
def release_gate(tmp_path: Path):
    """Runs the script with a `heed` that serves nothing and gates as it is told."""
    heed = tmp_path / "heed"
    heed.write_text(HEED, encoding="utf-8")
    heed.chmod(0o755)

    def run(*artifacts: Path, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"HEED": str(heed), "GATE_EXIT_CODE": str(exit_code)}
        command = ["bash", str(SCRIPT), *map(str, artifacts)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=30
        )

    return run


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A folder with a manifest."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    return folder


@pytest.mark.e2e
@pytest.mark.parametrize("exit_code", [0, 1, 2, 3])
def test_exit_code_is_that_of_the_gate(release_gate, artifact: Path, exit_code: int) -> None:
    """Also with a baseline, which is served beside it; both are ended."""
    ran = release_gate(artifact, artifact, exit_code=exit_code)
    assert ran.returncode == exit_code, ran.stderr
    words = ran.stdout.split()
    assert words[:2] == ["gate", "http://127.0.0.1:1234"]
    assert words[words.index("--baseline") + 1] == "http://127.0.0.1:1234"
    assert len(words[words.index("--expect-model") + 1]) == 64


@pytest.mark.e2e
def test_what_is_no_artifact_is_not_measured(release_gate, tmp_path: Path) -> None:
    """3, as 1 and 2 would be verdicts."""
    for artifacts in ((), (tmp_path / "none",)):
        ran = release_gate(*artifacts)
        assert ran.returncode == 3
        assert "is no artifact" in ran.stderr
