"""Header fields for browsers, and pages of other origins."""

import pytest

from service.http.headers import API_FIELDS

API = {name.decode(): value.decode() for name, value in API_FIELDS}
HOME, OTHER = "https://home.example", "https://other.example"


async def test_every_answer_has_the_security_headers_once(serve, fake_engine):
    """Also those that the middleware makes, and the crash that nobody expected."""
    async with serve(fake_engine, max_body_bytes=20_000, cors_origins=HOME) as client:
        answers = [
            await client.post("/v1/classify", json={"inputs": "a"}),
            await client.post("/v1/classify", json={}),
            await client.post("/v1/classify", content=b" " * 20_001),
            await client.post(
                "/v1/classify", json={"inputs": "a"}, headers={"X-Request-Priority": "?"}
            ),
            await client.get("/health/live"),
            await client.head("/metrics"),
            await client.get("/nope"),
            await client.put("/v1/models"),
            await client.options(
                "/v1/classify", headers={"Origin": HOME, "Access-Control-Request-Method": "POST"}
            ),
        ]
        client.app.state.registry.resolve().classify = None
        answers.append(await client.post("/v1/classify", json={"inputs": "a"}))
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200, 422, 413, 400, 200, 200, 404, 405, 200, 500]
    for answer in answers:
        for name, value in API.items():
            assert answer.headers.get_list(name) == [value]
    assert API["x-content-type-options"] == "nosniff"
    assert API["cache-control"] == "no-store"


async def test_page_of_the_documentation_may_load_what_it_needs_and_no_more(serve):
    """Each address in the page is allowed by its policy; the page is in no frame."""
    async with serve() as client:
        page = await client.get("/docs")
    policy = page.headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert "//" not in page.text  # nothing of another host, nothing at the root of this one
    assert "<script>" not in page.text
    assert not [value for value in directives.values() if "//" in value]
    assert directives["script-src"] == "'self'"
    assert directives["connect-src"] == "'self'"  # /openapi.json, and trying a request
    assert directives["default-src"] == directives["frame-ancestors"] == "'none'"
    assert page.headers["referrer-policy"] == "no-referrer"


async def test_other_origins_are_told_nothing_by_default(serve):
    """No CORS header without the setting; a preflight is a method that does not exist."""
    async with serve() as client:
        answer = await client.post("/v1/classify", json={"inputs": "a"}, headers={"Origin": HOME})
        preflight = await client.options(
            "/v1/classify", headers={"Origin": HOME, "Access-Control-Request-Method": "POST"}
        )
    assert preflight.status_code == 405
    for headers in (answer.headers, preflight.headers):
        assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize("setting", [f" {HOME} , http://localhost:3000", "*"])
async def test_given_origins_may_call_and_read_why_they_were_refused(serve, setting):
    """Preflight, answer and refusal; no other origin, and never with cookies."""
    async with serve(cors_origins=setting, max_body_bytes=20_000) as client:
        preflight = await client.options(
            "/v1/classify",
            headers={
                "Origin": HOME,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-request-timeout-ms",
            },
        )
        answers = [
            await client.post("/v1/classify", json=body, headers={"Origin": HOME})
            for body in ({"inputs": "a"}, {}, {"inputs": "a" * 20_000})
        ]
        foreign = await client.post("/v1/classify", json={}, headers={"Origin": OTHER})
        refused = await client.options(
            "/v1/classify",
            headers={
                "Origin": HOME,
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "x-forwarded-for",
            },
        )
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"] == "Disallowed CORS method, headers"
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    assert preflight.status_code == 200
    assert [answer.status_code for answer in answers] == [200, 422, 413]
    origin = "*" if setting == "*" else HOME
    for answer in (preflight, *answers):
        assert answer.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in answer.headers
    assert "x-request-id" in answers[0].headers["access-control-expose-headers"].lower()
    assert foreign.headers.get("access-control-allow-origin") in {None, "*"}
    assert (setting == "*") == ("access-control-allow-origin" in foreign.headers)
