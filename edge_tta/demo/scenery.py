"""Roadsides: sky, hills, trees, houses and a road in perspective, made from noise and polygons.

A scenery is larger than a frame, so that the view can drift and come closer while a sign passes.
Coordinates are pixels of the scenery, x to the right, y downwards. A canvas is (H, W, 4): colours
are RGB in 0..255, and the fourth number says what is there, a place in `KINDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.float32]
Canvas: TypeAlias = NDArray[np.float32]
Colour: TypeAlias = NDArray[np.float32]
Chance: TypeAlias = np.random.Generator

SIZE = 224  # pixels of a side
KINDS = ("sky", "plants", "road", "building", "sign")
"""What a frame shows at a position; the last one is not of the scenery."""
_NOISE_SIZE = 512
_SKY, _PLANTS, _ROAD, _BUILDING, _ = range(len(KINDS))

_SKIES = (  # zenith, horizon
    ((72, 132, 206), (190, 214, 232)),
    ((98, 150, 212), (214, 224, 228)),
    ((142, 160, 182), (206, 210, 212)),
    ((168, 176, 186), (216, 216, 214)),
    ((96, 122, 178), (244, 206, 164)),
)
_MEADOWS = ((86, 122, 50), (104, 130, 62), (134, 134, 74), (72, 104, 52), (152, 140, 88))
_LEAVES = ((52, 84, 38), (66, 98, 42), (40, 70, 44), (98, 104, 44), (140, 100, 42))
_WALLS = ((206, 196, 176), (180, 148, 120), (222, 216, 206), (160, 96, 76), (190, 178, 138))
_ROOFS = ((126, 58, 44), (92, 76, 70), (146, 80, 56), (74, 78, 86))


@dataclass(frozen=True)
class Scenery:
    """A roadside.

    picture: uint8 (SIZE, SIZE, 3). kinds: uint8 (SIZE, SIZE), places in `KINDS`. side: of the road,
    1 right, -1 left.
    """

    picture: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    side: float


@lru_cache(maxsize=1)
def _noise() -> Plane:
    """Fractal noise that repeats at its edges: mean 0, standard deviation 1."""
    rng = np.random.default_rng(20240607)
    total = np.zeros((_NOISE_SIZE, _NOISE_SIZE), np.float32)
    for cells in (8, 16, 32, 64, 128, 256):
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        # Three periods, of which the middle one is kept, make the interpolation periodic.
        side = 3 * _NOISE_SIZE
        wide = cv2.resize(np.tile(grid, (3, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
        total += wide[_NOISE_SIZE:-_NOISE_SIZE, _NOISE_SIZE:-_NOISE_SIZE] * np.float32(cells**-0.7)
    total -= total.mean()
    total /= total.std()
    total.flags.writeable = False
    return total


def noise(rng: Chance, height: int, width: int, stretch: float = 1.0) -> Plane:
    """A random window of fractal noise, its features `stretch` times as wide as they are high."""
    noise_tile = _noise()
    y, x = rng.integers(0, _NOISE_SIZE, 2)
    rows = (y + np.arange(height)) % _NOISE_SIZE
    columns = (x + (np.arange(width) / stretch)).astype(np.int64) % _NOISE_SIZE
    window: Plane = noise_tile[rows[:, None], columns[None, :]]
    return window


def _pick(rng: Chance, colours: tuple[tuple[int, int, int], ...], spread: float = 10.0) -> Colour:
    colour = np.array(colours[rng.integers(len(colours))]) + rng.normal(0.0, spread, 3)
    return np.clip(colour, 0, 255).astype(np.float32)


def _paint(canvas: Canvas, cover: Plane, paint: Canvas | Colour, kind: int | None = None) -> None:
    """Lays `paint`, (h, w, 3) or (3,), over the canvas where `cover`, (h, w) in [0, 1], is 1.

    kind: what is there then, where more than half is covered; None: what was.
    """
    colours = canvas[..., :3]
    colours += cover[..., None] * (paint - colours)
    if kind is not None:
        canvas[..., 3][cover > 0.5] = kind


def _lit(colour: Colour, texture: Plane, contrast: float) -> Canvas:
    """A colour made lighter and darker by a texture."""
    shade = np.clip(1.0 + contrast * texture, 0.25, 1.7)
    lit: Canvas = shade[..., None] * colour
    return lit


def _sky(canvas: Canvas, rng: Chance, horizon: int) -> Colour:
    """Paints the sky and returns the colour of the haze above the horizon."""
    zenith, low = (np.array(c, np.float32) for c in _SKIES[rng.integers(len(_SKIES))])
    down = np.linspace(0.0, 1.0, horizon, dtype=np.float32)[:, None, None] ** 1.3
    sky = canvas[:horizon]
    sky[..., :3] = zenith + (low - zenith) * down
    sky[..., 3] = _SKY
    clouds = noise(rng, horizon, SIZE, 2.5) * 0.8 + rng.uniform(-0.9, 0.5)
    white = np.array((246, 246, 246), np.float32) * np.float32(rng.uniform(0.85, 1.0))
    _paint(sky, np.clip(clouds, 0, 0.85) * np.linspace(1.0, 0.5, horizon)[:, None], white)
    return low


def _ridge(
    canvas: Canvas, rng: Chance, base: int, height: float, colour: Colour, rough: float
) -> None:
    """Hills or a far line of trees: everything between a random outline and the row `base`."""
    top = max(0, int(base - 2.2 * height))
    outline = base - height * (1.0 + 0.45 * noise(rng, 1, SIZE, 1.0 / rough)[0])
    rows = np.arange(top, base, dtype=np.float32)[:, None]
    cover = np.clip(rows - outline[None] + 0.5, 0.0, 1.0).astype(np.float32)
    texture = noise(rng, base - top, SIZE)
    _paint(canvas[top:base], cover, _lit(colour, texture, 0.12), _PLANTS)


def _ground(
    canvas: Canvas, rng: Chance, vanishing: tuple[float, float], haze: Colour
) -> tuple[float, float]:
    """Meadow and road below the horizon, seen from a camera one unit above a plane.

    The row y shows the depth z = focal / (y - horizon) and the column x the place z (x - vx) /
    focal across the road; edges are smoothed over the width of one pixel there. Returns the
    places of the left and the right edge of the road.
    """
    vx, vy = vanishing
    focal = np.float32(0.9 * SIZE)
    first = int(vy) + 1
    rows = np.arange(first, SIZE, dtype=np.float32)[:, None]
    depth = focal / (rows - np.float32(vy) + 0.4)
    pixel = depth / focal
    across = (np.arange(SIZE, dtype=np.float32)[None] - np.float32(vx)) * pixel
    ground = canvas[first:]

    offset = rng.uniform(0, _NOISE_SIZE, 2).astype(np.float32)
    u, v = across * 26 + offset[0], np.broadcast_to(depth * 9 + offset[1], across.shape)
    texture = cv2.remap(_noise(), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    # Far away a pixel covers many periods of the texture, which would flicker.
    texture = texture.astype(np.float32) * np.clip(1.2 - depth / 30, 0.15, 1.0)
    ground[..., :3] = _lit(_pick(rng, _MEADOWS), texture, 0.16)
    ground[..., 3] = _PLANTS

    half, middle = rng.uniform(1.5, 2.2), rng.uniform(-3.0, -1.3)
    aside = np.abs(across - np.float32(middle) - np.float32(rng.normal(0, 0.004)) * depth**2)

    def strip(distance: Plane, width: float) -> Plane:
        smooth: Plane = np.clip((width - distance) / pixel + 0.5, 0.0, 1.0).astype(np.float32)
        return smooth

    verge = strip(aside, half + 0.25)
    _paint(ground, verge, _lit(np.array((142, 132, 112), np.float32), texture, 0.12))
    asphalt = np.full(3, rng.uniform(78, 122), np.float32)
    _paint(ground, strip(aside, half), _lit(asphalt, texture, 0.06), _ROAD)
    line = np.array((222, 222, 214), np.float32)
    _paint(ground, strip(np.abs(aside - (half - 0.18)), 0.055) * 0.9, line)
    dashes = ((depth + np.float32(rng.uniform(0, 4))) % 4.0 < 2.0).astype(np.float32)
    _paint(ground, strip(aside, 0.06) * dashes * 0.9, line)
    _paint(ground, np.broadcast_to(np.clip(depth / 110, 0, 0.45), across.shape), haze)
    return middle - half, middle + half


def _tree(canvas: Canvas, rng: Chance, x: float, foot: float, height: float, light: float) -> None:
    """A trunk and a crown of overlapping round masses, brighter on the side of the light."""
    trunk = np.array((74, 58, 44), np.float32) * np.float32(rng.uniform(0.7, 1.2))
    half = max(0.8, 0.035 * height)
    cover = np.zeros((SIZE, SIZE), np.uint8)
    upper, thin = foot - height / 2, half / 2
    corners = np.array([(x - half, foot), (x + half, foot), (x + thin, upper), (x - thin, upper)])
    cv2.fillPoly(cover, [np.rint(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    top, bottom = max(0, int(foot - 1.15 * height)), min(SIZE, int(foot) + 2)
    left, right = max(0, int(x - 0.7 * height)), min(SIZE, int(x + 0.7 * height) + 1)
    if bottom - top < 2 or right - left < 2:
        return
    place = (slice(top, bottom), slice(left, right))
    _paint(canvas[place], cover[place] * np.float32(1 / 255), trunk, _PLANTS)

    colour = _pick(rng, _LEAVES, 8.0)
    spread = rng.uniform(0.2, 0.36)
    for step in range(3):
        # Back to front: dark wide masses first, light small ones towards the light last.
        cover[:] = 0
        for _ in range(9):
            angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1)) * (1 - 0.2 * step)
            cx = x + height * (spread * reach * np.cos(angle) + 0.07 * step * light)
            cy = foot - height * (0.64 + 0.3 * reach * np.sin(angle) + 0.04 * step)
            radius = height * rng.uniform(0.1, 0.16) * (1 - 0.25 * step)
            centre = (round(cx * 16), round(cy * 16))
            cv2.circle(cover, centre, max(8, round(radius * 16)), 255, -1, cv2.LINE_AA, 4)
        texture = noise(rng, bottom - top, right - left)
        leaves = _lit(colour * np.float32(0.72 + 0.28 * step), texture, 0.22)
        _paint(canvas[place], cover[place] * np.float32((1 - 0.2 * step) / 255), leaves, _PLANTS)


def _house(canvas: Canvas, rng: Chance, x: float, foot: float, width: float) -> None:
    """A house front with a roof, a door and rows of windows."""
    storeys = int(rng.integers(1, 4))
    height = width * (0.28 + 0.26 * storeys)
    wall, roof = _pick(rng, _WALLS), _pick(rng, _ROOFS)
    overhang, ridge = 0.06 * width, width * rng.uniform(0.15, 0.4)
    inset = width * rng.uniform(0.0, 0.4)

    def shape(points: list[tuple[float, float]], colour: Colour) -> None:
        pixels = np.rint(np.array(points) * 16).astype(np.int32)
        cv2.fillPoly(canvas, [pixels], (*(float(c) for c in colour), _BUILDING), cv2.LINE_8, 4)

    def box(left: float, top: float, w: float, h: float, colour: Colour) -> None:
        shape([(left, top), (left + w, top), (left + w, top + h), (left, top + h)], colour)

    left, top = x - width / 2, foot - height
    box(left, top, width, height, wall)
    box(left, top, width * 0.5, height, wall * np.float32(0.93))
    right, gable = left + width, top - ridge
    eaves = (left - overhang, top), (right + overhang, top)
    shape([eaves[0], (left + inset, gable), (right - inset, gable), eaves[1]], roof)
    box(left - overhang, top, width + 2 * overhang, max(1.0, 0.03 * width), roof * np.float32(0.6))
    glass = np.array((70, 84, 98), np.float32) * np.float32(rng.uniform(0.6, 1.5))
    columns = int(rng.integers(2, 5))
    pane, rise = width / (columns * 1.9), height / (storeys * 2.1)
    for storey in range(storeys):
        for column in range(columns):
            wx = left + width * (column + 0.5) / columns - pane / 2
            wy = top + height * (storey + 0.25) / storeys
            box(wx - 0.6, wy - 0.6, pane + 1.2, rise + 1.2, np.full(3, 226, np.float32))
            box(wx, wy, pane, rise, glass)


def make_scenery(rng: Chance) -> Scenery:
    """A random roadside: open country, wood, village or town."""
    vanishing = (SIZE * rng.uniform(0.34, 0.62), SIZE * rng.uniform(0.5, 0.64))
    horizon = int(vanishing[1]) + 1
    canvas = np.empty((SIZE, SIZE, 4), np.float32)
    haze = _sky(canvas, rng, horizon)
    leaves = _pick(rng, _LEAVES)
    distant = np.float32(0.5) * haze + np.float32(0.5) * leaves
    if rng.random() < 0.7:
        _ridge(canvas, rng, horizon, SIZE * rng.uniform(0.04, 0.16), distant, 0.35)
    if rng.random() < 0.8:
        _ridge(canvas, rng, horizon, SIZE * rng.uniform(0.03, 0.1), leaves * np.float32(0.9), 1.5)
    edges = _ground(canvas, rng, vanishing, haze)

    light = rng.choice((-1.0, 1.0))
    built = rng.random()  # from open country to town
    # The far ones first. A foot lies on the plane, beside the road, and nearer means larger.
    for nearness in np.sort(rng.uniform(0.02, 0.5, int(rng.integers(2, 8)))):
        below = nearness * (SIZE - horizon)
        right = rng.random() < 0.65
        place = edges[1] + rng.uniform(1.2, 7.0) if right else edges[0] - rng.uniform(1.0, 6.0)
        x = vanishing[0] + place * below
        if rng.random() < built:
            width = SIZE * (0.1 + 0.5 * nearness) * rng.uniform(0.8, 1.3)
            _house(canvas, rng, x + (0.4 if right else -0.4) * width, horizon + below, width)
        else:
            height = SIZE * (0.12 + 0.9 * nearness) * rng.uniform(0.8, 1.3)
            _tree(canvas, rng, x, horizon + below, height, light)
    # The camera is focused on the sign.
    soft = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.6, 1.0))[..., :3]
    picture, kinds = np.clip(soft, 0, 255).astype(np.uint8), canvas[..., 3].astype(np.uint8)
    if rng.random() < 0.3:  # a country that drives on the left
        picture, kinds = (np.ascontiguousarray(a[:, ::-1]) for a in (picture, kinds))
        return Scenery(picture, kinds, -1.0)
    return Scenery(picture, kinds, 1.0)
