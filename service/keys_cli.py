"""`heed keys new`, `list` and `revoke`."""

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from service.runtime.errors import HeedError
from service.runtime.terminal import Terminal

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_DURATION = re.compile(r"(\d{1,4})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_LEAST_WIDTH = 76  # columns; in less no id could be read
_STYLES = {"active": "green", "expired": "yellow", "revoked": "red"}

File = Annotated[
    Path, typer.Option("--file", envvar="HEED_API_KEYS_FILE", help="The key file.", dir_okay=False)
]


@app.callback()
def keys() -> None:
    """Make, list and revoke the API keys of a service.

    Example: heed keys new --file keys.toml --client shop
    """


@app.command()
def new(  # noqa: PLR0913, PLR0917  an option is a parameter
    file: File,
    client: Annotated[str, typer.Option(help="Whose key it is; a client may have several.")],
    scopes: Annotated[
        str, typer.Option(help="What it may do, by commas: classify, explain, batch, admin.")
    ] = "classify",
    rate: Annotated[
        float | None,
        typer.Option(help="Requests a second; 0 for no limit. [HEED_KEY_RATE_LIMIT]"),
    ] = None,
    burst: Annotated[
        int | None, typer.Option(help="Requests at once; what a second allows if not given.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="After 12h, 90d or 8w, or on a day (2027-01-31, UTC).")
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(help="Names of models that it may use, by commas; all if not given."),
    ] = None,
) -> None:
    """Make a key, print it once, and add its SHA-256 to the file.

    Example: heed keys new --file keys.toml --client shop --scopes classify,explain --expires 90d
    """
    from pydantic import ValidationError

    from service.http.key_edit import add, make_secret
    from service.http.keys import Key, explain_invalid

    now = datetime.now(UTC).replace(microsecond=0)
    key_id, secret, sha256 = make_secret()
    entry: dict[str, Any] = {
        "id": key_id,
        "client": client,
        "sha256": sha256,
        "scopes": _listed(scopes),
        "created": now,
        "expires": _moment(expires, now) if expires else None,
        "rate_limit": rate,
        "burst": burst,
        "models": _listed(models) if models else None,
    }
    try:
        key = Key.model_validate(entry)
    except ValidationError as error:
        raise HeedError(f"--{explain_invalid(error)}".replace("rate_limit", "rate")) from None
    add(file, key)
    typer.echo(secret)
    until = f", until {key.expires:%Y-%m-%d %H:%M} UTC" if key.expires else ""
    console = Terminal(stderr=True)
    allowed = ", ".join(key.scopes)
    console.print(f"Key {key.id} of {key.client} ({allowed}{until}) is in {file} as its SHA-256.")
    console.print("It is shown this once: keep it now.")


@app.command("list")
def list_(file: File) -> None:
    """The keys of the file: whose, what for, until when. None can be printed again.

    Example: heed keys list --file keys.toml
    """
    from rich.table import Table
    from rich.text import Text

    from service.http.keys import read

    columns = ("id", "client", "scopes", "requests/s", "models", "created", "expires", "state")
    table = Table(*columns, box=None, pad_edge=False, collapse_padding=True)
    for column in table.columns:
        column.no_wrap = column.header not in {"client", "scopes", "models"}
        column.overflow = "fold"
    table.columns[2].min_width = len("classify,")
    table.columns[3].justify = "right"
    now = datetime.now(UTC)
    for key in read(file):
        state = key.state(now)
        table.add_row(
            key.id,
            key.client,
            ", ".join(key.scopes),
            _rate(key.rate_limit),
            "all" if key.models is None else ", ".join(key.models),
            f"{key.created:%Y-%m-%d}",
            f"{key.expires:%Y-%m-%d}" if key.expires else "never",
            Text(state, style=_STYLES[state]),
        )
    Terminal().print_table(table, _LEAST_WIDTH)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `heed keys list` shows it.")],
    file: File,
) -> None:
    """Let a key open nothing any more; running services refuse it within a second.

    Example: heed keys revoke 4pQx9aZt --file keys.toml
    """
    from service.http.key_edit import revoke as write

    key = write(file, key_id, datetime.now(UTC))
    Terminal().print(
        f"Key {key.id} of {key.client} is revoked since {key.revoked:%Y-%m-%d %H:%M} UTC."
    )


def _rate(rate_limit: float | None) -> str:
    if rate_limit is None:
        return "default"
    return f"{rate_limit:g}" if rate_limit else "no limit"


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _moment(value: str, now: datetime) -> datetime:
    """`90d` from now, or the beginning of a day."""
    try:
        if found := _DURATION.fullmatch(value):
            return now + timedelta(**{_UNITS[found[2]]: int(found[1])})
        day = datetime.combine(date.fromisoformat(value), time(), UTC)
    except ValueError:
        expected = "expected 12h, 90d, 8w or a day such as 2027-01-31"
        raise HeedError(f"--expires: {expected}") from None
    if day <= now:
        raise HeedError("--expires: expected a day to come")
    return day
