"""What the guard answers, byte by byte."""

import io
import math

import pytest

from service.http.headers import API_FIELDS
from service.http.refusals import Refusal, response
from tests.service.http.guarded import Response

SILENT = {Refusal.PIPELINED, Refusal.WRITE_TIMEOUT}


@pytest.mark.parametrize("refusal", sorted(set(Refusal) - SILENT))
def test_refusal_has_the_id_and_the_header_fields_of_any_answer(refusal):
    """As the application gives them, and those of the server."""
    answer = Response(io.BytesIO(response(refusal, "abc", [(b"date", b"now")])))
    assert answer.problem()["request_id"] == answer.fields["x-request-id"] == "abc"
    assert {"type", "title", "detail"} < set(answer.problem())
    for name, value in API_FIELDS:
        assert answer.fields[name.decode()] == value.decode()
    assert answer.fields["date"] == "now"
    assert answer.fields["connection"] == "close"
    assert (answer.status == 503) == (float(answer.fields.get("retry-after", math.nan)) >= 1)
