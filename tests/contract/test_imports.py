"""Which part may import which: the serving image has no torch, and `heed --help` is quick."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import ENVIRONMENT, ROOT

TRAINING = {"torch", "datasets", "sklearn", "onnx", "safetensors", "matplotlib", "pandas"}
HELP = """
import sys
sys.argv = ["heed", {arguments}]
import heed
try:
    heed.main()
except SystemExit as end:
    assert not end.code, end.code
"""


def imported_by(code: str) -> set[str]:
    """Names of the modules that are loaded after `code` ran in a process of its own."""
    tail = "\nimport json, sys\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["service.runtime.predictor", "service.app", "service.cli"])
def test_service_imports_nothing_of_training(module):
    """The serving image is installed without it."""
    modules = imported_by(f"import {module}")
    assert modules & (TRAINING | {"model", "export", "loadtest"}) == set()


def test_predictor_needs_no_web_framework():
    """A notebook that classifies texts starts no service."""
    modules = imported_by("import service.runtime.predictor")
    assert modules & {"fastapi", "uvicorn", "pydantic", "prometheus_client", "structlog"} == set()


@pytest.mark.parametrize("module", ["model.config", "model.data", "model.metrics", "model.cli"])
def test_settings_data_and_figures_need_no_torch(module):
    """A typing error in a file shows before a second of imports is over."""
    assert "torch" not in imported_by(f"import {module}")


@pytest.mark.parametrize("module", ["model.run", "export.bundle", "export.predict"])
def test_training_and_export_need_no_web_framework(module):
    """Where one trains nothing is served."""
    modules = imported_by(f"import {module}")
    assert modules & {"fastapi", "uvicorn", "starlette", "service.app", "locust"} == set()


@pytest.mark.parametrize("arguments", ['"--help"', '"--version"', '"train", "--help"'])
def test_help_imports_no_library_that_works(arguments):
    """Half a second is spent on answering, not on importing."""
    modules = imported_by(HELP.format(arguments=arguments))
    heavy = {"torch", "onnxruntime", "fastapi", "datasets", "numpy", "sentencepiece", "locust"}
    assert modules & heavy == set()


def test_predict_imports_no_torch(fp32, tmp_path):
    """A machine that only classifies files needs no training library."""
    (tmp_path / "in.txt").write_text("where is my parcel\n")
    arguments = f'"predict", "--model", {str(fp32)!r}, {str(tmp_path / "in.txt")!r}, "--out", "-"'
    assert "torch" not in imported_by(HELP.format(arguments=arguments))


def test_import_rules_hold():
    """The contracts of pyproject.toml, all of them."""
    beside = Path(sys.executable).with_name("lint-imports")
    command = str(beside) if beside.exists() else shutil.which("lint-imports")
    if command is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout
