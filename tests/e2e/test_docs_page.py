"""The page of /docs in a browser that can reach nothing but the service."""

import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.reliability.server import Server

CHROMIUM = shutil.which("chromium")
ROOT = "/team/heed"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def server(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service below a path."""
    log = tmp_path_factory.mktemp("docs") / "log"
    server = Server(tiny_artifact, log, {"root_path": ROOT})
    server.start()
    yield server
    server.stop(within_s=10.0)


@pytest.fixture(scope="module")
def stripping(server: Server) -> Iterator[str]:
    """The URL of a proxy that takes the path off, and has nothing elsewhere."""

    class Strip(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{ROOT}/"):
                self.send_error(404)
                return
            with urllib.request.urlopen(server.url + self.path.removeprefix(ROOT)) as answer:
                body = answer.read()
                self.send_response(answer.status)
                for name in ("Content-Type", "Content-Security-Policy", "X-Content-Type-Options"):
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Strip) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}"
        proxy.shutdown()


def shown(url: str, folder: Path) -> tuple[str, str]:
    """The page as it is after its scripts ran, and what the browser complained about.

    Any name resolves to nothing, so what is loaded comes from the address in `url`.
    """
    done = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *(f"--user-data-dir={folder}", "--enable-logging=stderr", "--v=0"),
            *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--timeout=20000"),
            *("--virtual-time-budget=10000", "--dump-dom", url),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(complaints)


@pytest.mark.parametrize("path", ["/docs", f"{ROOT}/docs"])
def test_page_shows_every_operation_without_internet(server, tmp_path, path):
    """At its own path, and below the one of a proxy that leaves it as it is."""
    page, complaints = shown(server.url + path, tmp_path)
    check(page, complaints)


def test_page_works_behind_a_proxy_that_takes_the_path_off(stripping, tmp_path):
    """It asks for nothing at the root, where another service may be."""
    page, complaints = shown(f"{stripping}{ROOT}/docs", tmp_path)
    check(page, complaints)


def check(page: str, complaints: str) -> None:
    """Rendered, with the server below its path, and nothing refused by its policy."""
    for operation in ("/v1/classify", "/v1/models", "/health/live", "/health/ready", "/metrics"):
        assert f'data-path="{operation}"' in page, complaints
    assert f'<option value="{ROOT}">' in page
    assert not complaints
