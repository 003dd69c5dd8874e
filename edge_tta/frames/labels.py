"""True labels of picture files: from `labels.csv` beside them, or from the folder's name."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edge_tta.errors import SourceError

_FILE_COLUMNS = ("file", "filename", "name", "image", "path", "imageid")
_MOST_DIGITS = 18
_LABEL_COLUMNS = ("label", "class", "truelabel")


class ClassNames:
    """Finds a class's index (from 0) by its name or by its number.

    Attributes:
        unknown: how often what was asked for was neither, by text.
    """

    def __init__(self, classes: Sequence[str] | None) -> None:
        self.unknown: Counter[str] = Counter()
        self._count = None if classes is None else len(classes)
        self._by_name = _unique(classes or ())
        self._by_spelling = _unique([_spelling(name) for name in classes or ()])

    def index(self, text: str) -> int | None:
        """The class called `text` (else spelled like it), else the number it is, else None."""
        index = self._by_name.get(text, self._by_spelling.get(_spelling(text)))
        if index is None and (index := self.checked(_number(text))) is None:
            self.unknown[text] += 1
        return index

    def checked(self, index: int) -> int | None:
        """`index` if there is such a class, else None."""
        return index if index >= 0 and (self._count is None or index < self._count) else None


def read_labels(path: Path, names: ClassNames) -> dict[str, int]:
    """File name (as written, and without its suffix) -> class index, from a CSV with a header.

    Columns: one of file, filename, name, image, path, ImageId; one of label, class (name or index
    from 0), TrueLabel (the NIPS-2017 set's own column: index from 1, made 0-based here). Rows whose
    label is not a class are left out. Raises SourceError when the columns are not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
            header = rows[0].keys() if rows else ()
    except (OSError, csv.Error) as error:
        raise SourceError(f"cannot read {path} ({error}); repair or remove it") from error
    columns = {name.strip().casefold(): name for name in header if name}
    file_column = next((columns[name] for name in _FILE_COLUMNS if name in columns), None)
    label_column = next((columns[name] for name in _LABEL_COLUMNS if name in columns), None)
    if rows and (file_column is None or label_column is None):
        raise SourceError(
            f"{path} needs a header with a column of {', '.join(_FILE_COLUMNS)} and one of "
            f"{', '.join(_LABEL_COLUMNS)}, got {', '.join(columns)}; add it or remove the file"
        )
    labels: dict[str, int] = {}
    for row in rows:
        file_name, text = (row[file_column or ""] or "", (row[label_column or ""] or "").strip())
        if (label_column or "").strip().casefold() == "truelabel":
            label = names.checked(_number(text) - 1)
        else:
            label = names.index(text)
        if file_name and label is not None:
            labels[file_name.strip()] = label
            labels.setdefault(str(Path(file_name.strip()).with_suffix("")), label)
    return labels


def _number(text: str) -> int:
    """A whole number; -1 where the text is none."""
    return int(text) if text.strip().isdecimal() and len(text) <= _MOST_DIGITS else -1


def _unique(names: Sequence[str]) -> dict[str, int]:
    """Name -> index of the names that occur once: ImageNet calls two classes "crane"."""
    times = Counter(names)
    return {name: index for index, name in enumerate(names) if times[name] == 1}


def _spelling(name: str) -> str:
    """The name without case, underscores and hyphens: folders rarely keep a class's spaces."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
