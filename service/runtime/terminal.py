"""The terminal as every command writes to it."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from service.runtime.safe import safe, safe_lines

_ONE_LINE = 10_000  # columns: a row of a file or a pipe is a line, as grep and awk need it


class Terminal(Console):
    """Prints strings as they are, one a line: no markup, no emoji codes, nothing to obey.

    On a terminal lines break between words. In a file or a pipe they do not break.
    """

    def __init__(self, *, stderr: bool = False, piped_width: int = _ONE_LINE) -> None:
        """Write to stdout, or to `stderr`; tables in a pipe are up to `piped_width` wide."""
        stream = sys.stderr if stderr else sys.stdout
        stream = getattr(stream, "rich_proxied_file", stream)  # below the guard, if there is one
        super().__init__(file=stream, stderr=stderr, markup=False, highlight=False, emoji=False)
        if not self.is_terminal:
            self.soft_wrap = True
            self.width = piped_width

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401  rich's own
        """As rich does, of a safe text: before anything is measured."""
        return super().render_str(safe(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich does; safe also where a `Text` was made by hand."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else safe_lines(text), style, control)

    def print_table(self, table: Table, least_width: int = 0) -> None:
        """Print it without the blanks at its end; what is narrower than it can be breaks lines."""
        options = self.options.update(width=max(self.width, least_width))
        for line in self.render_lines(table, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
            self.print(Segments([*line, Segment.line()]), soft_wrap=True)
