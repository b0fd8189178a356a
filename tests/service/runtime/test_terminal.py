"""The terminal as every command writes to it."""

import io
import re

import pytest
from rich.table import Table
from rich.text import Text

from service.runtime.terminal import Terminal
from tests.nasty import COMMANDS

_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def terminal(monkeypatch, columns: int | None) -> Terminal:
    """One of so many columns, or a file."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    stream.isatty = lambda: columns is not None
    monkeypatch.setattr("sys.stdout", stream)
    made = Terminal()
    if columns:
        made.width = columns
    return made


def shown(made: Terminal) -> str:
    """What was written, without our own colours."""
    return _COLOUR.sub("", made.file.getvalue())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [None, 80])
def test_no_string_commands_the_terminal(monkeypatch, columns, command):
    """In a line, a cell, a header and a `Text`: it is spelled out."""
    made = terminal(monkeypatch, columns)
    made.print(f"label {command}")
    table = Table(f"head {command}")
    table.add_row(f"cell {command}")
    made.print_table(table)
    made.print(Text(f"text {command}".replace("\n", " ")))
    assert all(line.isprintable() for line in shown(made).split("\n"))
    assert shown(made).split("\n")[0].startswith("label \\")


def test_strings_are_printed_as_they_are(monkeypatch):
    """No markup, no emoji codes, no colours for numbers."""
    made = terminal(monkeypatch, 80)
    made.print("[red]3 of :smile: [/b] 'x'")
    assert made.file.getvalue() == "[red]3 of :smile: [/b] 'x'\n"


def test_lines_break_between_words_on_a_terminal_and_nowhere_in_a_file(monkeypatch):
    """A note may be longer than a terminal is wide."""
    note = "a note of several words that is longer than this"
    made = terminal(monkeypatch, 20)
    made.print(note)
    lines = shown(made).splitlines()
    assert max(map(len, lines)) <= 20
    assert " ".join(line.strip() for line in lines) == note
    made = terminal(monkeypatch, None)
    made.print(note)
    assert shown(made) == note + "\n"


@pytest.mark.parametrize("columns", [None, 80, 40])
def test_tables_have_no_blanks_at_their_ends(monkeypatch, columns):
    """Nor do long labels push numbers out of sight; in a file a row is a line."""
    made = terminal(monkeypatch, columns)
    table = Table(box=None, pad_edge=False)
    table.add_column("label", overflow="fold")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("note")
    table.add_row("a_long_label_" * 10, "12,345", "")
    table.add_row("short", "1", "x")
    made.print_table(table)
    lines = shown(made).splitlines()
    assert [line.rstrip() for line in lines] == lines
    assert "12,345" in lines[1]
    assert max(map(len, lines)) <= (columns or 200)
    if columns is None:
        assert len(lines) == 3
