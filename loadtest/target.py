"""The service under test, seen from outside: is it there, and what does it serve."""

import http.client
import ipaddress
import json
from collections import defaultdict
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from prometheus_client.parser import text_string_to_metric_families

from loadtest.result import Model
from loadtest.result import Target as Facts

TIMEOUT_S = 10.0
SCRAPE_TIMEOUT_S = 2.0
# Only these lines go through the parser: a whole page each second would cost the run its quiet.
_METRICS = (
    *("process_cpu_seconds_total", "process_resident_memory_bytes", "heed_queue_depth"),
    *(
        f"heed_{name}_{part}"
        for name in ("queue_wait_seconds", "engine_duration_seconds", "batch_size")
        for part in ("sum", "count")
    ),
)


class TargetError(Exception):
    """The service cannot be tested; the message names the address and the reason."""


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Target:
    """A Heed service at a base URL."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        """Keep the address, without a trailing slash; TargetError when it is not one."""
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise TargetError(f"{url!r} is not an address such as http://127.0.0.1:8000")
        if parts.username or parts.query or parts.fragment:
            raise TargetError("the address must hold no password, `?` or `#`; see --api-key")
        self.url = url.rstrip("/")
        self.local = _is_loopback(parts.hostname or "")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # Direct, as the load itself goes, and no redirect: it would take the key elsewhere.
        self._opener = build_opener(ProxyHandler({}), _NoRedirect())

    def require_ready(self) -> None:
        """Return when /health/ready answers 200, raise TargetError otherwise."""
        try:
            self._get("/health/ready")
        except HTTPError as error:
            with error:
                raise TargetError(f"{error.url} answers {error.code}, not 200") from None
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise TargetError(f"cannot reach {self.url}: {reason}") from None

    def models(self) -> list[Model] | None:
        """What /v1/models lists; None when there is no such list or no answer."""
        try:
            entries = json.loads(self._get("/v1/models"))["models"]
            return [
                Model(
                    name=e["name"],
                    version=e["version"],
                    manifest_sha256=e.get("manifest_sha256"),
                )
                for e in entries
            ]
        except HTTPError as error:
            error.close()
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            pass
        return None

    def serves_other_than(self, models: list[Model]) -> bool:
        """Whether it lists other models now. One that does not answer is gone, not changed."""
        now = self.models()
        return now is not None and bool(models) and now != models

    def facts(self) -> Facts:
        """The service as a result shows it."""
        return Facts(url=self.url, models=self.models() or [], local=self.local)

    def metrics(self) -> dict[str, float]:
        """Some values of /metrics by name, summed over labels; empty when there are none."""
        try:
            page = self._get("/metrics", SCRAPE_TIMEOUT_S).decode("utf-8")
            lines = "\n".join(line for line in page.splitlines() if line.startswith(_METRICS))
            values: dict[str, float] = defaultdict(float)
            for family in text_string_to_metric_families(lines + "\n"):
                for sample in family.samples:
                    values[sample.name] += sample.value
        except HTTPError as error:
            error.close()
            return {}
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        return dict(values)

    def _get(self, path: str, timeout_s: float = TIMEOUT_S) -> bytes:
        request = Request(self.url + path, headers=self._headers)  # noqa: S310 - http(s) only
        with self._opener.open(request, timeout=timeout_s) as response:
            body: Any = response.read()
        return bytes(body)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
