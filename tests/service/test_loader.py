"""Where versions are on disk, and on which threads they are loaded."""

import asyncio
import gc
import json
import os
import shutil
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
from httpx import ASGITransport, AsyncClient
from onnx import numpy_helper

from service.app import create_app
from service.background import in_background
from service.loader import ModelStore
from service.runtime.artifact import ArtifactError, FileEntry
from service.runtime.engine import EngineError, Interrupt
from service.settings import Settings
from tests.artifacts import looping, make_model, write_artifact

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
    assert list(store.versions().manifests) == ["9", "10"]
    assert store.load().manifest.version == "10"
    assert store.load("9").manifest.version == "9"


def test_store_of_one_artifact_has_its_version(tiny_artifact):
    """Whatever the folder is called."""
    store = store_of(tiny_artifact)
    assert list(store.versions().manifests) == ["1"]
    assert store.load("1").manifest.version == "1"


def test_folder_named_after_another_version_is_not_loaded(versions):
    """Or a change would activate something else than was asked for."""
    (versions / "9").rename(versions / "11")
    assert store_of(versions).load().manifest.version == "10"
    with pytest.raises(ArtifactError, match="it is tiny version 9; expected a folder named 9"):
        store_of(versions).load("11")


def test_store_knows_its_model_from_the_first_version_on(versions):
    """What lies there later, or what a link leads to then, is of that model or nothing."""
    link = versions.parent / "current"
    link.symlink_to(versions)
    store = store_of(link)
    assert store.load().manifest.version == "10"
    write_artifact(versions / "11", name="models", version="11")
    assert store.versions().newest == "10"
    link.unlink()
    link.symlink_to(versions / "11")
    with pytest.raises(ArtifactError, match="is model models; expected model tiny"):
        store.versions()


def test_switched_link_leads_to_the_new_version(versions):
    """As git-sync updates a folder."""
    link = versions.parent / "current"
    link.symlink_to(versions / "9")
    store = store_of(link)
    assert store.load().manifest.version == "9"
    link.unlink()
    link.symlink_to(versions / "10")
    assert store.versions().newest == "10"
    assert store.load("10").manifest.version == "10"


def test_load_that_is_interrupted_ends(versions):
    """ONNX Runtime looks at the flag before each node, also inside a Loop."""
    replace_file(versions / "10", "model.onnx", looping)
    interrupt = Interrupt()
    timer = threading.Timer(0.2, interrupt)
    timer.start()
    with pytest.raises(EngineError, match="terminate flag"):
        store_of(versions).load("10", interrupt=interrupt)
    timer.join()


@pytest.mark.parametrize("version", ["../9", "/etc", ".", "8"])
def test_version_that_leads_elsewhere_is_refused(versions, version):
    """A name of a folder right below, or nothing."""
    with pytest.raises(ArtifactError):
        store_of(versions).load(version)


def replace_file(artifact: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Another content, with a manifest that vouches for it."""
    content = change((artifact / name).read_bytes())
    (artifact / name).write_bytes(content)
    manifest = json.loads((artifact / "manifest.json").read_text())
    manifest["files"][name] = asdict(FileEntry.of(content))
    (artifact / "manifest.json").write_text(json.dumps(manifest))


def without_numbers(model: bytes) -> bytes:
    """The graph with embeddings that are NaN for every id but those of the warm-up."""
    graph = onnx.ModelProto.FromString(model)
    table = graph.graph.initializer[0]
    values = numpy_helper.to_array(table).copy()
    values[2:] = np.nan
    table.CopyFrom(numpy_helper.from_array(values, table.name))
    return bytes(graph.SerializeToString())


@pytest.mark.parametrize(
    ("file", "change", "error", "message"),
    [
        ("tokenizer.model", lambda content: b"\xff" * 64, ArtifactError, "no SentencePiece model"),
        ("model.onnx", lambda content: make_model(20, 3), EngineError, "fails on a trial text"),
        ("model.onnx", without_numbers, EngineError, "on a trial text: .* not finite"),
    ],
    ids=["garbage for a tokenizer", "more ids than embeddings", "no numbers"],
)
def test_version_that_would_fail_every_request_is_refused_although_its_hashes_are_right(
    versions, file, change, error, message
):
    """It is tried on a text before it answers anybody."""
    replace_file(versions / "10", file, change)
    with pytest.raises(error, match=message) as caught:
        store_of(versions).load()
    assert "\n" not in str(caught.value)


def test_highest_id_of_the_tokenizer_is_tried(versions):
    """Its graph may know fewer ids than that, also if the trial text has none of those."""
    highest = store_of(versions).load().tokenizer.vocab_size - 1
    replace_file(versions / "10", "model.onnx", lambda content: make_model(highest, 3))
    with pytest.raises(EngineError, match=f"fails on id {highest}, the highest of its tokenizer"):
        store_of(versions).load()


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
