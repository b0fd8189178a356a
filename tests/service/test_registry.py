"""Which version answers, and how a model is loaded."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from service import loader
from service.errors import UnknownModelError
from service.loader import load_model
from service.registry import Registry
from service.runtime.engine import EngineError
from service.settings import Settings
from tests.fakes import FakeEngine


def serving(settings: Settings, version: str) -> SimpleNamespace:
    """As much of a classifier as the registry looks at."""
    model = load_model(settings, FakeEngine())
    manifest = replace(model.manifest, version=version)
    return SimpleNamespace(model=replace(model, manifest=manifest))


def test_highest_version_answers_unless_one_is_named(settings):
    """10 is above 9."""
    registry = Registry([serving(settings, version) for version in ("9", "10")])
    assert registry.resolve().model.manifest.version == "10"
    assert registry.resolve("tiny", "9").model.manifest.version == "9"
    with pytest.raises(UnknownModelError, match="served: tiny version 10, tiny version 9"):
        registry.resolve(version="11")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (4, 1)),
        ({"engine_workers": 1}, (1, 4)),
        ({"engine_workers": 2}, (2, 2)),
        ({"engine_workers": 8}, (8, 1)),
        ({"intra_op_num_threads": 3}, (4, 3)),
    ],
)
def test_workers_and_threads_follow_the_cpu_quota(monkeypatch, settings, given, expected):
    """All CPUs are used and none twice, unless settings say so."""
    monkeypatch.setattr(loader, "cpu_quota", lambda: 4)
    model = load_model(settings.model_copy(update=given), FakeEngine())
    assert (model.engine_workers, model.intra_op_num_threads) == expected


def test_gpu_has_one_worker(settings, fake_engine):
    """It computes one batch at a time."""
    fake_engine.execution_provider = "cuda"
    assert load_model(settings, fake_engine).engine_workers == 1


def test_missing_provider_is_an_error_at_start(settings):
    """Not a silent fallback."""
    with pytest.raises(EngineError, match="'cuda' is not in this ONNX Runtime"):
        load_model(settings.model_copy(update={"execution_provider": "cuda"}))
