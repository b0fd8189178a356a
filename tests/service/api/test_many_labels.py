"""Models of many labels: how many an answer lists, and where they are ranked."""

import threading

import pytest

from service import classifier
from service.api.schemas import ModelsResponse
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


async def test_large_answers_that_do_not_fit_are_refused_before_they_are_made(serve, artifact):
    """And small ones are not; what is held is given back, whatever becomes of the request."""
    async with serve(model=artifact(2_000), max_inflight_answer_bytes=200_000) as client:
        answers = client.app.state.answers
        large, small = {"inputs": ["my card"] * 8, "top_k": 2_000}, {"inputs": "my card"}
        unread = answers.unread
        answers.unread = lambda: 1
        refused = await client.post("/v1/classify", json=large)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:heed:problem:queue-full")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await client.post("/v1/classify", json=small)).status_code == 200
        answers.unread = unread
        for headers, status in [({}, 200), ({"X-Request-Timeout-Ms": "1"}, 504)]:
            answer = await client.post("/v1/classify", json=large, headers=headers)
            assert answer.status_code == status
            assert answers.making == 0


async def test_list_of_models_is_as_described_and_counted(serve, artifact):
    """With 10,000 labels it is a large answer too."""
    async with serve(model=artifact(10_000), max_inflight_answer_bytes=200_000) as client:
        answer = await client.get("/v1/models")
        ModelsResponse.model_validate(answer.json())
        assert len(answer.json()["models"][0]["labels"]) == 10_000
        client.app.state.answers.unread = lambda: 199_999
        assert (await client.get("/v1/models")).status_code == 503
