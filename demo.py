"""`heed demo`: the commands of the README, run one after another on the built-in sample."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from model.figures import accuracy_text
from service.runtime.errors import HeedError
from service.runtime.terminal import Terminal

TEXTS = (
    "I left my purse on the tram and all my cards were in it, please stop them",
    "why does the app keep saying wrong code when i try to get in",
    "sent 200 to my landlord on friday and he says nothing has come yet",
)
_HEED = (sys.executable, "-P", "-m", "heed")  # -P: nothing is imported from where the user stands
_START_S = 60.0
_SHADES = ("", "bold", "bold cyan", "bold reverse cyan")


class DemoError(HeedError):
    """A step of the demo failed; its own message is above."""


def demo(
    folder: Annotated[Path, typer.Option(help="Where runs/demo and artifacts/demo go.")] = Path(),
    duration: Annotated[str, typer.Option(help="Of the load test.")] = "10s",
) -> None:
    """Train, export, serve, classify, load-test: all of it, on the built-in sample.

    Example: heed demo
    """
    from model.sample import TEST, TRAIN

    console = Terminal()
    run, artifact = folder / "runs" / "demo", folder / "artifacts" / "demo"
    report = run / "loadtest"
    started = time.monotonic()
    _heed(console, "train", TRAIN, "--test", TEST, "--out", run, "--overwrite")
    shutil.rmtree(artifact, ignore_errors=True)
    _heed(console, "export", run, "--out", artifact)
    with _service(console, artifact) as url:
        _classify(console, url)
        _heed(console, "loadtest", url, "--duration", duration, "--out", report)
    _summarise(console, artifact, report / "result.json", time.monotonic() - started)


def _heed(console: Terminal, *arguments: str | Path) -> None:
    words = list(map(str, arguments))
    console.print()
    console.print(f"$ heed {shlex.join(words)}", style="bold", soft_wrap=True)
    if subprocess.run([*_HEED, *words], check=False).returncode:
        raise DemoError(f"heed {words[0]} failed; see above")


@contextmanager
def _service(console: Terminal, artifact: Path) -> Iterator[str]:
    """The service on a free port, as long as the block runs; its log goes nowhere."""
    words = ["serve", "--model", str(artifact), "--port", "0"]
    console.print()
    console.print(f"$ heed {shlex.join(words)}", style="bold", soft_wrap=True)
    process = subprocess.Popen(
        [*_HEED, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101  it was asked for
        line = process.stdout.readline().strip()
        found = re.search(r"http://\S+", line)
        if found is None:
            raise DemoError("heed serve did not start; run it by hand to see why")
        console.print(line)
        yield found.group()
    finally:
        process.terminate()
        process.wait(_START_S)


def _classify(console: Terminal, url: str) -> None:
    console.print()
    console.print("POST /v1/classify (words that counted more stand out)", style="bold")
    body = {"inputs": list(TEXTS), "explain": "attention", "top_k": 2}
    request = urllib.request.Request(  # noqa: S310  an address that this program made
        f"{url}/v1/classify",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_START_S) as response:  # noqa: S310
        results = json.load(response)["results"]
    for text, result in zip(TEXTS, results, strict=True):
        scores = ", ".join(f"{item['label']} {item['score']:.2f}" for item in result["scores"])
        console.print(Text("  ").append_text(_shaded(text, result["words"])))
        console.print(f"    {scores}", style="green")


def _shaded(text: str, words: list[dict[str, Any]]) -> Text:
    shaded = Text(text)
    heaviest = max(word["weight"] for word in words)
    for word in words:
        level = round(word["weight"] / heaviest * (len(_SHADES) - 1))
        shaded.stylize(_SHADES[level], word["start"], word["end"])
    return shaded


def _summarise(console: Terminal, artifact: Path, result: Path, total_s: float) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    load = json.loads(result.read_text(encoding="utf-8"))
    figures = load["summary"][0]
    test = manifest["metrics"]["test"]
    size = sum(file["size"] for file in manifest["files"].values())
    table = Table(show_header=False, box=None, pad_edge=False)
    accuracy = accuracy_text(test).removeprefix("accuracy ")
    table.add_row("accuracy", f"{accuracy}, {test['n']} test messages")
    table.add_row("artifact", f"{artifact}, {size / 1e6:.1f} MB")
    table.add_row(
        "latency",
        ", ".join(f"p{p} {1000 * figures[f'p{p}_s']:.1f} ms" for p in (50, 95, 99))
        + f" at {figures['users']} connections",
    )
    table.add_row("throughput", f"{figures['ok_rps']:,.0f} requests/s")
    table.add_row("report", str(result.with_name("report.html")))
    console.print()
    console.print(f"Done in {total_s:.0f} s", style="bold")
    console.print_table(table)
    console.print()
    console.print(f"Next: heed serve --model {artifact}", soft_wrap=True)
    console.print(
        "      heed train YOUR.csv --text-column TEXT --label-column LABEL --out runs/yours",
        soft_wrap=True,
    )
