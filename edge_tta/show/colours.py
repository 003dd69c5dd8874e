"""Colours of classes: as different as their number allows, the same in every picture."""

from __future__ import annotations

import colorsys

Colour = tuple[int, int, int]

_GOLDEN = 0.61803398875
"""Steps of the hue by the golden section: any first few are far apart (Ankerl, 2009)."""
_SHADES = ((0.62, 0.95), (0.75, 0.72), (0.42, 1.0))
"""Saturation and value, in turn."""


def colour_of(index: int) -> Colour:
    """Return the colour of a class, RGB."""
    saturation, value = _SHADES[index % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb((0.58 + index * _GOLDEN) % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
