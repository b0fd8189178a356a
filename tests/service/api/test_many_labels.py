"""Models of many labels: how many an answer lists, and where they are ranked."""

import threading

import pytest

from service import classifier
from service.runtime.predictor import Predictor
from tests.artifacts import write_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """A function from a number of labels to an artifact."""

    def make(count: int):
        folder = tmp_path_factory.mktemp("wide") / "wide"
        return write_artifact(folder, labels=tuple(f"label {index}" for index in range(count)))

    return make


@pytest.mark.parametrize(("labels", "listed"), [(100, 100), (101, 10), (2_000, 10)])
async def test_all_labels_are_listed_of_a_hundred_and_ten_of_more(serve, artifact, labels, listed):
    """Unless the request says how many."""
    async with serve(model=artifact(labels)) as client:
        for top_k, expected in [(None, listed), (3, 3), (labels, labels), (10**9, labels)]:
            body = {"inputs": "my card", "top_k": top_k}
            (result,) = (await client.post("/v1/classify", json=body)).json()["results"]
            assert len(result["scores"]) == expected
            assert result["scores"][0] == {"label": result["label"], "score": result["score"]}


async def test_answer_of_more_scores_than_allowed_is_422(serve, artifact):
    """Texts times labels: 64 texts of 60,000 labels held all others up for 16 s."""
    async with serve(model=artifact(2_000), max_scores=64_000) as client:
        for texts, top_k, status in [(64, 1_000, 200), (64, 1_001, 422), (32, 9_999, 200)]:
            body = {"inputs": ["my card"] * texts, "top_k": top_k}
            answer = await client.post("/v1/classify", json=body)
            assert answer.status_code == status
    async with serve(model=artifact(2_000), max_scores=9) as client:
        answer = await client.post("/v1/classify", json={"inputs": "my card"})
    assert answer.json()["errors"] == [
        {
            "location": "top_k",
            "message": "10 labels for each of 1 texts are 10 scores, at most 9 are allowed in an "
            "answer",
        }
    ]


async def test_many_labels_are_ranked_beside_the_loop_and_as_the_predictor_does(
    serve, artifact, monkeypatch
):
    """Text by text; equal to what Python gets."""
    threads = []
    ranked = classifier.ranked

    def noted(*args):
        threads.append(threading.current_thread().name)
        return ranked(*args)

    monkeypatch.setattr(classifier, "ranked", noted)
    path = artifact(2_000)
    texts = ["my card", "where is it", "I want a refund", "nobody"]
    async with serve(model=path) as client:
        body = {"inputs": texts, "top_k": 50}
        results = (await client.post("/v1/classify", json=body)).json()["results"]
    assert len(threads) == len(texts)
    assert all(name.startswith("encoder") for name in threads)
    for result, prediction in zip(results, Predictor(path, "cpu").predict(texts, 50), strict=True):
        expected = [label for label, _ in prediction.scores]
        assert [each["label"] for each in result["scores"]] == expected
        assert result["score"] == pytest.approx(prediction.score, abs=1e-6)
