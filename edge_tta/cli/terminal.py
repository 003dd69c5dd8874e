"""The console that subcommands print to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from edge_tta.errors import printable


class _SafeConsole(Console):
    """Shows text as it is, and never obeys it.

    Names of classes, files and sources come from others, and may hold characters that terminals
    take for commands.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text of messages and of cells of tables, measured as it will be shown."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield segments, those of texts that were made elsewhere (a progress bar's) among them."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            shown = text if control else "\n".join(map(printable, text.split("\n")))
            yield segment if shown == text else Segment(shown, style)


def terminal(*, stderr: bool = False) -> Console:
    """Return a console that prints what it is given: `nanoadapt:tent:` is no emoji."""
    return _SafeConsole(stderr=stderr, emoji=False, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def stages(console: Console, doing: str) -> Iterator[Callable[[str], None]]:
    """A function to tell the stages of long work with: beside a spinner, or as lines in a log."""
    if not console.is_terminal:
        yield lambda stage: console.print(f"{doing}: {stage}")
        return
    with console.status(doing) as status:
        yield lambda stage: status.update(f"{doing}: {stage}")
