"""The service under test, seen from outside: is it there, and what does it serve."""

import ipaddress
import json
import math
import re
from collections import defaultdict
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from loadtest.fetch import FetchError, clean, fetch
from loadtest.result import Model
from loadtest.result import Target as Facts

TIMEOUT_S = 10.0
SCRAPE_TIMEOUT_S = 2.0
MAX_BYTES = 4_000_000  # of one answer that is no part of the load
MAX_MODELS = 100
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


def base_url(url: str) -> str:
    """The address without what may be written or left out: blanks, case, slashes at its end.

    Raises:
        TargetError: it is none, or holds what would be saved or lost.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f\x7f\\]", url):
        raise TargetError(f"{url!r} is not an address such as http://127.0.0.1:8000")
    if parts.username or parts.query or parts.fragment:
        raise TargetError("the address must hold no password, `?` or `#`; see --api-key")
    return f"{parts.scheme}://{parts.netloc.lower()}{re.sub('/+', '/', parts.path).rstrip('/')}"


class Target:
    """A Heed service at a base URL."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        """Keep the address as `base_url` has it; TargetError when it is not one."""
        self.url = base_url(url)
        self.local = _is_loopback(urlsplit(self.url).hostname or "")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def require_ready(self) -> None:
        """Return when /health/ready answers 200, raise TargetError otherwise."""
        try:
            self._get("/health/ready")
        except FetchError as error:
            if error.status:
                raise TargetError(f"{self.url}/health/ready {error}") from None
            raise TargetError(f"cannot reach {self.url}: {error}") from None

    def models(self) -> list[Model] | None:
        """What /v1/models lists; None when there is no such list or no answer."""
        try:
            entries = json.loads(self._get("/v1/models"))["models"]
            return [
                Model(
                    name=clean(e["name"]),
                    version=clean(e["version"]),
                    manifest_sha256=clean(sha256) if (sha256 := e.get("manifest_sha256")) else None,
                )
                for e in entries[:MAX_MODELS]
            ]
        except (FetchError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
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
        except Exception:  # whatever the parser makes of a page: the run goes on without it
            return {}
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def _get(self, path: str, timeout_s: float = TIMEOUT_S) -> bytes:
        return fetch(self.url + path, self._headers, timeout_s, MAX_BYTES)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
