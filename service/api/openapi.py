"""The OpenAPI document: what FastAPI derives from the routes, and what only this service knows.

`make openapi` writes it to docs/openapi.json, as it is with the default settings.
"""

import functools
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.requests import Request
from fastapi.responses import Response
from pydantic.json_schema import models_json_schema

from service.api.schemas import Problem
from service.http.auth import PROBES
from service.settings import Settings

_REF = "#/components/schemas/{model}"
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_REQUEST_ID = {
    "description": "Names the request in the log; taken over from the request if it is up to 64 "
    "letters, digits, dots, dashes and underscores.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
}
# A visible character, and no NUL: what `str.isspace` and `body.check_limits` make of a text.
_TEXT = r"^[^\u0000]*[^\u0000\s\u001c-\u001f\u0085][^\u0000]*$"


def install(app: FastAPI, settings: Settings) -> None:
    """Let `app.openapi()` give the whole document, made when it is first asked for."""
    derive = app.openapi

    def openapi() -> dict[str, Any]:
        known = app.openapi_schema is not None
        document = derive()
        if not known:
            _complete(document, settings)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual has it
    if app.openapi_url is not None:
        _serve(app, app.openapi_url)


def _serve(app: FastAPI, path: str) -> None:
    """Send one and the same bytes to everybody.

    FastAPI's own route makes them anew for each, and a client that does not read holds on to them.
    """

    @functools.cache
    def body() -> bytes:
        return orjson.dumps(app.openapi())

    async def page(_: Request) -> Response:
        return Response(body(), media_type="application/json")

    routes = app.router.routes
    routes[:] = [route for route in routes if getattr(route, "path", None) != path]
    app.add_route(path, page, include_in_schema=False)


def _complete(document: dict[str, Any], settings: Settings) -> None:
    """Add keys, problems, limits and the header of every answer."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SCHEMES
    components["headers"] = {"X-Request-ID": _REQUEST_ID}
    _, problems = models_json_schema([(Problem, "serialization")], ref_template=_REF)
    components.setdefault("schemas", {}).update(problems["$defs"])
    security: list[dict[str, list[str]]] = [{name: []} for name in _SCHEMES]
    if settings.api_keys_file is None:
        security.append({})  # a key may be sent, and is not looked at
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path not in PROBES:
                operation["security"] = security
            for response in operation["responses"].values():
                headers = response.setdefault("headers", {})
                headers["X-Request-ID"] = {"$ref": "#/components/headers/X-Request-ID"}
    if "/v1/classify" in document["paths"]:
        _limit(document["paths"]["/v1/classify"]["post"], settings)


def _limit(operation: dict[str, Any], settings: Settings) -> None:
    """Write the limits of this service into the schema of a request."""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    text, texts = schema["properties"]["inputs"]["oneOf"]
    for string in (text, texts["items"]):
        string |= {"minLength": 1, "maxLength": settings.max_text_chars, "pattern": _TEXT}
    texts["maxItems"] = settings.max_texts_per_request
