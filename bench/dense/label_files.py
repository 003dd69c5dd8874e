"""Files of labels beside pictures: masks, YOLO's boxes, COCO's."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.dense.metrics import Truth
from edge_tta.errors import SourceError, one_line, quoted

Array = npt.NDArray[Any]

ANNOTATIONS = "annotations.json"
"""Name of COCO's file beside the pictures."""

_IN_YOLO = "expected a line for each box: class cx cy w h, each in 0..1 of the picture"
_IN_COCO = (
    "expected COCO's form: images (id, file_name, width, height), annotations (image_id, "
    "category_id, bbox [x, y, w, h] in pixels, perhaps iscrowd) and categories (id, name)"
)


def mask_of(data: bytes, name: str) -> Array:
    """Return the class numbers (H, W) of a picture file: gray values, or indices of a palette.

    name: for messages.

    Raises:
        SourceError: it is damaged, or in colour.
    """
    from PIL import Image  # comes with torchvision; OpenCV knows a palette's colours alone

    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels: Array = np.asarray(image)
    except Exception as error:  # damaged files raise many kinds
        raise SourceError(f"{name} cannot be decoded ({one_line(error, 120)})") from error
    if pixels.ndim == 3:
        colours = pixels[..., : 1 if pixels.shape[2] == 2 else 3]  # without transparency
        if (colours == colours[..., :1]).all():
            pixels = colours[..., 0]
    if pixels.ndim != 2 or pixels.dtype.kind not in "bui":
        raise SourceError(
            f"{name} is in colour; expected class numbers, as gray values or indices of a palette"
        )
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def read_yolo(path: Path) -> Truth:
    """Return the boxes of a text file; none where there is no file.

    Raises:
        SourceError: it cannot be read, or its boxes are not in 0..1.
    """
    if not path.exists():
        return Truth.of((), ())
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
        rows = np.array([line for line in lines if line], float).reshape(-1, 5)
        if any(len(line) not in (0, 5) for line in lines):
            raise ValueError("a line has not five numbers")
        outside = rows[~((rows[:, 1:] >= 0) & (rows[:, 1:] <= 1)).all(1), 1:]
        if len(outside):
            raise ValueError(f"{' '.join(f'{value:g}' for value in outside[0])} is outside 0..1")
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{path} cannot be read as boxes ({one_line(error, 120)}); {_IN_YOLO}"
        ) from error
    middle, half = rows[:, 1:3], rows[:, 3:5] / 2
    return Truth.of(np.concatenate([middle - half, middle + half], 1), rows[:, 0])


def read_coco(path: Path, names: Sequence[str] | None) -> dict[str, Truth]:
    """Return the boxes of each picture, by its file's name.

    Categories have the number of their name among the network's class names, else of their place
    by id, which counts from 0.

    names: of the network's classes; None: unknown.

    Raises:
        SourceError: it cannot be read, or has another number of categories than the network has.
    """
    try:
        document = json.loads(path.read_bytes())
        numbers = _numbers(path, document["categories"], names)
        boxes: dict[Any, list[Any]] = {image["id"]: [] for image in document["images"]}
        for box in document["annotations"]:
            number, crowd = numbers[box["category_id"]], bool(box.get("iscrowd", 0))
            boxes[box["image_id"]].append((*box["bbox"], number, crowd))
        return {
            image["file_name"]: _truth(boxes[image["id"]], image["width"], image["height"])
            for image in document["images"]
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SourceError(
            f"{path} cannot be read ({type(error).__name__}: {one_line(error, 120)}); {_IN_COCO}"
        ) from error


def _numbers(
    path: Path, categories: Sequence[Mapping[str, Any]], names: Sequence[str] | None
) -> dict[Any, int]:
    """Return the class number of each category's id."""
    known = {name: k for k, name in enumerate(names or ())}
    unknown = [name for c in categories if (name := c.get("name")) not in known]
    if not unknown:
        return {category["id"]: known[category["name"]] for category in categories}
    if len(unknown) < len(categories):
        raise SourceError(
            f"{path} has the category {quoted(unknown[0])}, which is no class of the network, and "
            f"{len(categories) - len(unknown)} others that are; give all the same names: --labels "
            "FILE"
        )
    if names is not None and len(categories) != len(names):
        raise SourceError(
            f"{path} has {len(categories)} categories and the network has {len(names)} classes, "
            f"{quoted(names[0])} the first; give the network of these categories, or its class "
            "names: --labels FILE"
        )
    return {k: place for place, k in enumerate(sorted(c["id"] for c in categories))}


def _truth(rows: Sequence[Any], width: float, height: float) -> Truth:
    """Return boxes of rows x, y, w, h in pixels, class, crowd."""
    table = np.array(rows, float).reshape(-1, 6)
    low, sides = table[:, :2], table[:, 2:4]
    corners = np.concatenate([low, low + sides], 1) / (width, height, width, height)
    return Truth.of(corners, table[:, 4], table[:, 5])
