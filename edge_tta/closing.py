"""Things that hold a file, a thread or a window, released at the end of a `with` block."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Closing:
    """Base of what is closed when its `with` block ends, however it ends.

    A subclass implements `close`, which may be called twice.
    """

    def close(self) -> None:
        """Release what is held, here nothing."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
