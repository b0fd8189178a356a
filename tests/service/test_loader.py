"""Where versions are on disk, and on which threads they are loaded."""

import asyncio
import gc
import os
import shutil
import sys
import threading
import weakref
from pathlib import Path

import pytest
from httpx import ASGITransport, AsyncClient

from service.app import create_app
from service.background import in_background
from service.loader import ModelStore
from service.runtime.artifact import ArtifactError
from service.settings import Settings
from tests.artifacts import write_artifact

linux = pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority on Linux only")


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """A folder with versions 9 and 10."""
    for version in ("9", "10"):
        write_artifact(tmp_path / "models" / version, version=version)
    return tmp_path / "models"


def store_of(model: Path, **changed: object) -> ModelStore:
    """A store on the CPU."""
    return ModelStore(Settings(model=model, execution_provider="cpu", **changed))


def test_store_finds_versions_by_the_names_of_their_folders(versions):
    """The highest last, and first to be loaded."""
    store = store_of(versions)
    assert store.versions() == ["9", "10"]
    assert store.load().manifest.version == "10"
    assert store.load("9").manifest.version == "9"


def test_store_of_one_artifact_has_its_version(tiny_artifact):
    """Whatever the folder is called."""
    store = store_of(tiny_artifact)
    assert store.versions() == ["1"]
    assert store.load("1").manifest.version == "1"


def test_folder_named_after_another_version_is_refused(versions):
    """Or a change would activate something else than was asked for."""
    (versions / "9").rename(versions / "11")
    with pytest.raises(ArtifactError, match="holds version 9; expected a folder named 9"):
        store_of(versions).load()


@pytest.mark.parametrize("version", ["../9", "/etc", ".", "8"])
def test_version_that_leads_elsewhere_is_refused(versions, version):
    """A name of a folder right below, or nothing."""
    with pytest.raises(ArtifactError):
        store_of(versions).load(version)


def threads_of_process() -> set[int]:
    """Their ids, those of ONNX Runtime too."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


@linux
@pytest.mark.parametrize("threads", [1, 2])
async def test_no_thread_keeps_the_low_priority_of_loading(versions, threads):
    """Threads that ONNX Runtime starts would inherit it, and could never get rid of it."""
    store = store_of(versions, intra_op_num_threads=threads, engine_workers=1)
    before = threads_of_process()

    def load():
        model = store.load("9", beside_traffic=True)
        started = threads_of_process() - before
        priorities = {task: os.getpriority(os.PRIO_PROCESS, task) for task in started}
        del model  # its threads live until now
        return priorities, threading.get_native_id()

    priorities, own = await in_background(load)
    assert priorities.pop(own) == 19
    assert list(priorities.values()) == [0] * (threads - 1)


async def test_work_in_the_background_hands_over_what_it_raises():
    """As if it had been called."""
    with pytest.raises(ZeroDivisionError):
        await in_background(lambda: 1 / 0)


async def test_version_that_left_is_freed(versions):
    """Without the garbage collector, which does not look at what is frozen."""
    for version in ("11", "12"):
        shutil.copytree(versions / "10", versions / version)
        manifest = versions / version / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"10"', f'"{version}"'))
    settings = Settings(model=versions, execution_provider="cpu", request_timeout_s=0.01)
    app = create_app(settings)
    transport = ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url="http://heed") as client,
    ):
        registry = app.state.registry
        before = set(threading.enumerate())
        await registry.activate("10")
        await client.post("/v1/classify", json={"inputs": "a"})
        its_threads = set(threading.enumerate()) - before
        gone = weakref.ref(registry.active.model.engine)
        gc.disable()
        try:
            for version in ("11", "12"):
                await registry.activate(version)
            await asyncio.gather(*registry._evictions)
            for thread in its_threads:
                await asyncio.to_thread(thread.join, 20)
            await client.get("/health/live")  # lets go of what the loop did last
        finally:
            gc.enable()
        assert gone() is None
