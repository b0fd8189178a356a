"""The body of a request: from bytes that nobody vouches for to a checked `ClassifyRequest`.

Two answers, told apart by one rule. 400: the bytes are no JSON that every reader understands alike
(I-JSON, RFC 7493): another encoding, a byte order mark, broken syntax, NaN, a number beyond any
range, half a surrogate pair, a name given twice. 422: they are, but not what the route takes: a
wrong type, an unknown field, an empty text, a NUL character, too much of it. Of too much outside of
strings nobody looks at the rest: a value costs ten times a character, and each stops all requests.

The standard library's decoder, as it alone shows every member of an object: other readers keep the
last of two members with one name and say nothing. It costs 1 us more than pydantic's.
"""

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

from pydantic import ValidationError

from service.api.schemas import ClassifyRequest
from service.errors import (
    FieldProblem,
    InvalidRequestError,
    MalformedBodyError,
    UnsupportedMediaTypeError,
)
from service.runtime.postprocess import FEW_LABELS
from service.runtime.texts import objection
from service.settings import Settings

# A request has a hundred bytes of braces, commas and numbers, and a comma for each text. This many
# are decoded in 2 ms, whatever they are.
STRUCTURE_BYTES = 8192
DEFAULT_TOP_K = 10  # of models with more than `FEW_LABELS`
_FIELDS = ClassifyRequest.model_fields
_TAGS = frozenset({"text", "list"})
# pydantic's words, where they would not do. No name of a field that was sent: it could hold text.
_MESSAGES = {
    "extra_forbidden": f"has an unknown field; known: {', '.join(_FIELDS)}",
    "model_type": "must be an object",
}
_CHARSETS = frozenset({b"utf-8", b"utf8"})


def check_media_type(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Accept `application/json`, with no charset but UTF-8 and no Content-Encoding.

    Args:
        headers: of the ASGI scope, names in lower case.

    Raises:
        UnsupportedMediaTypeError: it is something else, or not said, or said twice.
    """
    media_types = []
    for name, value in headers:
        if name == b"content-type":
            media_types.append(value)
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise UnsupportedMediaTypeError("expected a body without Content-Encoding")
    if media_types != [b"application/json"]:  # what nearly everybody sends
        _check_parameters(media_types)


def _check_parameters(media_types: list[bytes]) -> None:
    media_type, *parameters = media_types[0].lower().split(b";") if media_types else [b""]
    if len(media_types) > 1 or media_type.strip() != b"application/json":
        raise UnsupportedMediaTypeError("expected one Content-Type, application/json")
    for parameter in parameters:
        name, _, value = parameter.strip().partition(b"=")
        if name == b"charset" and value.strip(b'"') not in _CHARSETS:
            raise UnsupportedMediaTypeError("expected a body in UTF-8, not in another charset")


def parse(body: bytes, max_texts: int) -> ClassifyRequest:
    """What `body` asks for.

    Args:
        body: as it came.
        max_texts: of one request; a few more are read, and left to `check_limits`.

    Raises:
        MalformedBodyError: it is no I-JSON; says where.
        InvalidRequestError: it is, but not a request; names the fields.
    """
    _check_structure(body, STRUCTURE_BYTES + max_texts)
    try:
        request = ClassifyRequest.model_validate(_decode(body))
    except ValidationError as error:
        # Never the input, nor the context: they hold the text.
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    else:
        if b"\\" in body:  # only an escape can bring in what UTF-8 cannot
            _check_surrogates(request)
        return request
    fields = []
    for problem in problems:
        location = _location(problem["loc"])
        if problem["type"] == "string_unicode":
            raise _half_a_pair(location)
        fields.append(FieldProblem(location, _MESSAGES.get(problem["type"], problem["msg"])))
    raise InvalidRequestError(fields)


def check_limits(request: ClassifyRequest, settings: Settings) -> None:
    """Refuse texts that are empty, too long or too many, before anything is done for them.

    Raises:
        InvalidRequestError: names each of them.
    """
    texts = request.texts
    if len(texts) > settings.max_texts_per_request:
        limit = settings.max_texts_per_request
        problem = FieldProblem("inputs", f"has {len(texts)} texts, at most {limit} are allowed")
        raise InvalidRequestError([problem])
    problems = [
        FieldProblem(request.place(index), message)
        for index, text in enumerate(texts)
        if (message := objection(text, settings.max_text_chars)) is not None
    ]
    if problems:
        raise InvalidRequestError(problems)


def num_scores(request: ClassifyRequest, num_labels: int, settings: Settings) -> int:
    """How many labels are answered for each text.

    Raises:
        InvalidRequestError: for all texts together they are too many.
    """
    default = num_labels if num_labels <= FEW_LABELS else DEFAULT_TOP_K
    count = min(request.top_k or default, num_labels)
    total = count * len(request.texts)
    if total > settings.max_scores:
        message = (
            f"{count} labels for each of {len(request.texts)} texts are {total} scores, "
            f"at most {settings.max_scores} are allowed in an answer"
        )
        raise InvalidRequestError([FieldProblem("top_k", message)])
    return count


def _check_structure(body: bytes, limit: int) -> None:
    """Refuse more than `limit` bytes outside of strings, white space aside. 2 MB take 1 to 7 ms.

    In UTF-8 a quote is no part of another character: once the escaped ones are gone, each second
    piece between quotes is a string. What is no JSON is cut elsewhere, and left to the decoder if
    it is short.
    """
    if len(body) <= limit:
        return
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    outside = b"".join(body.split(b'"', 2 * limit)[::2]).translate(None, b" \t\r\n")
    if len(outside) > limit:
        message = f"has more than {limit} bytes outside of its strings"
        raise InvalidRequestError([FieldProblem("body", message)])


def _decode(body: bytes) -> object:
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is no UTF-8"
    except json.JSONDecodeError as error:
        reason = f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
    except RecursionError:
        reason = "arrays or objects are nested too deep; a request needs two levels"
    except ValueError:  # what int() makes of thousands of digits
        reason = "a number has too many digits"
    encoding = json.detect_encoding(body)
    if not body:
        reason = "it is empty"
    elif encoding != "utf-8":
        reason = f"it is in {encoding}, or begins with a byte order mark"
    raise MalformedBodyError(f"the body is not JSON in UTF-8: {reason}")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise MalformedBodyError("the body has an object with the same name twice")
    if len(value) > len(_FIELDS):  # refused here, as pydantic would describe each of 2,000
        raise InvalidRequestError([FieldProblem("body", _MESSAGES["extra_forbidden"])])
    return value


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise MalformedBodyError("the body has a number beyond the range of a double")
    return int(value) if value.is_integer() else value  # 2.0 is an integer in JSON Schema


def _constant(_name: str) -> NoReturn:
    raise MalformedBodyError("the body has NaN or Infinity, which JSON does not know")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_number, parse_constant=_constant
)


def _check_surrogates(request: ClassifyRequest) -> None:
    strings = [(request.place(index), text) for index, text in enumerate(request.texts)]
    strings += [("model", request.model or ""), ("version", request.version or "")]
    for location, string in strings:
        try:
            string.encode()
        except UnicodeEncodeError:
            raise _half_a_pair(location) from None


def _half_a_pair(location: str) -> MalformedBodyError:
    return MalformedBodyError(f"{location}: holds half a surrogate pair")


def _location(parts: tuple[int | str, ...]) -> str:
    """`("inputs", "list", 2)` as `inputs[2]`. The name of an unknown field is not repeated."""
    if not parts or parts[0] not in _FIELDS:
        return "body"
    path = str(parts[0])
    for part in parts[1:]:
        if part not in _TAGS:
            path += f"[{part}]"
    return path
