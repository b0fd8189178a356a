"""The parts of uvicorn that the guard leans on: when one moves, the guard has to be read again.

Each of these is an internal of uvicorn 0.54; the bound in pyproject.toml names the version.
"""

import ast
import inspect
import textwrap

import httptools
import pytest
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.server import Server, ServerState

from service.http.transport import Handle
from tests.service.http.guarded import App

Protocol = httptools_impl.HttpToolsProtocol
Cycle = httptools_impl.RequestResponseCycle

SIGNATURES = {
    Protocol.__init__: "(self, config, server_state, app_state, _loop)",
    Protocol.connection_made: "(self, transport)",
    Protocol.connection_lost: "(self, exc)",
    Protocol.data_received: "(self, data)",
    Protocol.resume_writing: "(self)",
    Protocol.on_message_begin: "(self)",
    Protocol.on_headers_complete: "(self)",
    Protocol.on_body: "(self, body)",
    Protocol.on_message_complete: "(self)",
    Protocol.on_response_complete: "(self)",
    Protocol.timeout_keep_alive_handler: "(self)",
    Protocol._start_asgi_task: "(self, cycle, app)",
    Protocol._unset_keepalive_if_required: "(self)",
    flow_control.FlowControl.pause_reading: "(self)",
    flow_control.FlowControl.resume_reading: "(self)",
}
PROTOCOL_ATTRIBUTES = [
    "client",
    "cycle",
    "expect_100_continue",
    "flow",
    "headers",
    "loop",
    "parser",
    "pipeline",
    "server_state",
    "timeout_keep_alive",
    "timeout_keep_alive_task",
    "transport",
]
CYCLE_ATTRIBUTES = [
    "disconnected",
    "keep_alive",
    "message_event",
    "response_complete",
    "response_started",
    "scope",
    "waiting_for_100_continue",
]


def source(thing: object) -> str:
    """Without its indentation."""
    return textwrap.dedent(inspect.getsource(thing))


def moved(what: str) -> str:
    """The message of a failure."""
    return f"uvicorn {uvicorn.__version__} has changed {what}, which service/http/protocol.py uses"


@pytest.mark.parametrize(
    ("function", "parameters"), SIGNATURES.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_methods_take_what_they_took(function, parameters):
    """The guard overrides or calls them."""
    names = f"({', '.join(inspect.signature(function).parameters)})"
    assert names == parameters, moved(function.__qualname__)


async def test_attributes_have_their_names():
    """The guard reads or sets them."""
    protocol = Protocol(Config(App(), lifespan="off"), ServerState(), {})
    for name in PROTOCOL_ATTRIBUTES:
        assert hasattr(protocol, name), moved(f"HttpToolsProtocol.{name}")
    assigned = source(Cycle.__init__)
    for name in CYCLE_ATTRIBUTES:
        assert f"self.{name} = " in assigned, moved(f"RequestResponseCycle.{name}")
    assert "self.read_paused = " in source(flow_control.FlowControl.__init__), moved("read_paused")
    assert "self.url = " in source(Protocol.on_message_begin), moved("HttpToolsProtocol.url")
    assert "self.headers = []" in source(Protocol.on_message_begin), moved("headers")


@pytest.mark.parametrize("module", [httptools_impl, flow_control, inspect.getmodule(Server)])
def test_handle_has_every_method_of_the_transport_that_is_called(module):
    """Except for the upgrade to WebSocket, which does not happen."""
    called = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name | ast.Attribute)
        and getattr(node.value, "attr", getattr(node.value, "id", ""))
        in {"transport", "_transport"}
    }
    assert called <= {*Handle.__slots__, "set_protocol"}, moved("its use of the transport")


def test_data_received_does_what_the_guard_does_in_its_place():
    """It is replaced and not called: it feeds all at once and answers 400 in plain text."""
    body = ast.parse(source(Protocol.data_received)).body[0]
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(body)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("self.")
    ]
    assert sorted(set(calls)) == [
        "self._should_upgrade",
        "self._unset_keepalive_if_required",
        "self._unsupported_upgrade_warning",
        "self.handle_websocket_upgrade",
        "self.logger.warning",
        "self.parser.feed_data",
        "self.send_400_response",
    ], moved("HttpToolsProtocol.data_received")


def test_parser_is_made_and_set_up_as_here():
    """`without_upgrade` makes another one."""
    made = source(Protocol.__init__)
    assert "httptools.HttpRequestParser(self)" in made, moved("its parser")
    assert made.count("set_dangerous_leniencies") == 1, moved("the leniencies of its parser")
    assert "set_dangerous_leniencies(lenient_data_after_close=True)" in made


def test_waiting_requests_stand_in_the_pipeline_and_the_newest_is_the_cycle():
    """That is how the guard knows which request is being received."""
    headers = source(Protocol.on_headers_complete)
    assert "self.cycle = RequestResponseCycle(" in headers, moved("cycle")
    assert "self.pipeline.appendleft((self.cycle, app))" in headers, moved("pipeline")
    assert "self._start_asgi_task(self.cycle, app)" in headers, moved("_start_asgi_task")
    assert "self._start_asgi_task(cycle, app)" in source(Protocol.on_response_complete)


def test_error_of_a_callback_is_the_context_of_the_parsers():
    """That is how a refusal leaves the parser, and its kind."""

    class Refusing:
        def on_headers_complete(self) -> None:
            raise LookupError

    with pytest.raises(httptools.HttpParserError) as raised:
        httptools.HttpRequestParser(Refusing()).feed_data(b"GET / HTTP/1.1\r\n\r\n")
    assert isinstance(raised.value.__context__, LookupError)


def test_upgrade_says_how_many_bytes_were_read():
    """The rest is fed again."""
    head = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    with pytest.raises(httptools.HttpParserUpgrade) as raised:
        httptools.HttpRequestParser(object()).feed_data(head + b"rest")
    assert raised.value.args == (len(head),)
