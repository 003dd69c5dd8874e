"""One camera frame of a road sign: the sign in perspective before a roadside, and the light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_tta.demo.faces import sign_picture
from edge_tta.demo.scenery import KINDS, Scenery, make_scenery
from edge_tta.demo.scenery import SIZE as SCENERY_SIZE

FRAME_SIZE = 160  # pixels of a side
SCALES = (0.36, 0.74)  # smallest and largest width of a sign, in frame widths

_DISTANCE = 5.0  # from the camera to the sign, in sign units: how strong the perspective is
_FINE = 2  # the sign is drawn this many times larger and averaged


@dataclass(frozen=True)
class Pose:
    """Position and attitude of a sign.

    `x`, `y`: centre, in frame widths from the upper left; `scale`: width of the face, in frame
    widths; `yaw`, `pitch`, `roll`: radians. `view_x`, `view_y` (pixels of the scenery) and `zoom`
    (at least 1) choose the part of the scenery behind it.
    """

    x: float
    y: float
    scale: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    view_x: float = 0.0
    view_y: float = 0.0
    zoom: float = 1.0


@dataclass(frozen=True)
class Light:
    """Daylight: `exposure` times `tint` (RGB factors), changing by `slope` across the frame.

    `angle` (radians) is the direction in which it grows; `sheen` is how much brighter the upper
    part of the sign's face is than the lower one.
    """

    exposure: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    slope: float = 0.0
    angle: float = 0.0
    sheen: float = 0.0


def random_light(rng: np.random.Generator) -> Light:
    """The ordinary daylight of clean frames."""
    warmth = rng.uniform(-0.09, 0.09)
    return Light(
        exposure=rng.uniform(0.62, 1.15),
        tint=(1.0 + warmth, 1.0 + rng.uniform(-0.02, 0.02), 1.0 - warmth),
        slope=rng.uniform(0.0, 0.35),
        angle=rng.uniform(0.0, 2 * np.pi),
        sheen=rng.uniform(-0.05, 0.16),
    )


def reach(scale: float) -> float:
    """Return how far from the frame's middle a sign's centre may be, in frame widths."""
    return max(0.0, 0.5 - 0.54 * scale)


def random_pose(rng: np.random.Generator, scale: float | None = None) -> Pose:
    """A sign anywhere near the middle of the frame, all of it visible."""
    if scale is None:
        scale = rng.uniform(*SCALES)
    room = reach(scale)
    return Pose(
        x=0.5 + rng.uniform(-1.0, 1.0) * min(room, 0.24),
        y=0.5 + rng.uniform(-1.0, 0.7) * min(room, 0.2),
        scale=scale,
        yaw=rng.uniform(-0.5, 0.5),
        pitch=rng.uniform(-0.06, 0.06),
        roll=rng.normal(0.0, 0.05),
        view_x=rng.uniform(-14.0, 14.0),
        view_y=rng.uniform(-14.0, 14.0),
        zoom=rng.uniform(1.0, 1.25),
    )


def _sign_to_frame(pose: Pose) -> NDArray[np.float64]:
    """The 3x3 matrix from sign units to pixels of the frame: a rotated plane through a pinhole."""
    (sy, sp, sr), (cy, cp, cr) = (f((pose.yaw, pose.pitch, pose.roll)) for f in (np.sin, np.cos))
    turn = (
        np.array([(cr, -sr, 0), (sr, cr, 0), (0, 0, 1)])
        @ np.array([(1, 0, 0), (0, cp, -sp), (0, sp, cp)])
        @ np.array([(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)])
    )
    half = pose.scale * FRAME_SIZE / 2
    centre = np.array([pose.x, pose.y]) * FRAME_SIZE - 0.5
    matrix = np.zeros((3, 3))
    matrix[2] = (turn[2, 0] / _DISTANCE, turn[2, 1] / _DISTANCE, 1.0)
    matrix[:2, :2] = half * turn[:2, :2]
    matrix[:2] += centre[:, None] * matrix[2]
    return matrix


def _sign_layer(label: int, pose: Pose) -> NDArray[np.uint8]:
    """The sign alone: RGBA, colours multiplied by alpha, one frame large."""
    wide = pose.scale * FRAME_SIZE * _FINE > 150
    picture, units = sign_picture(label, 256 if wide else 128)
    fine = np.array([(_FINE, 0, (_FINE - 1) / 2), (0, _FINE, (_FINE - 1) / 2), (0, 0, 1)])
    matrix = fine @ _sign_to_frame(pose) @ units
    side = FRAME_SIZE * _FINE
    layer = cv2.warpPerspective(picture, matrix, (side, side), flags=cv2.INTER_LINEAR)
    small = cv2.resize(layer, (FRAME_SIZE, FRAME_SIZE), interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False)


def _view(scenery: Scenery, pose: Pose) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The part of the scenery that the pose shows: its picture, and its kinds."""
    step = 1.0 / pose.zoom
    middle, half = (SCENERY_SIZE - 1) / 2, (FRAME_SIZE - 1) / 2
    spare = max(0.0, middle - half * step)
    x = middle + np.clip(pose.view_x, -spare, spare) - half * step
    y = middle + np.clip(pose.view_y, -spare, spare) - half * step
    picture, kinds = (
        cv2.warpAffine(
            of_scenery,
            np.array([(step, 0.0, x), (0.0, step, y)]),
            (FRAME_SIZE, FRAME_SIZE),
            flags=between | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.uint8, copy=False)
        for of_scenery, between in (
            (scenery.picture, cv2.INTER_LINEAR),
            (scenery.kinds, cv2.INTER_NEAREST),
        )
    )
    return picture, kinds


def compose(
    scenery: Scenery, pose: Pose, light: Light, label: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The frame, uint8 (160, 160, 3) RGB, of one sign before a roadside, and its mask.

    The mask, uint8 (160, 160), has the place in `scenery.KINDS` of what each position shows.
    """
    layer = _sign_layer(label, pose)
    rows = (np.arange(FRAME_SIZE, dtype=np.float32) + 0.5) / FRAME_SIZE
    sheen = 1.0 + light.sheen * (pose.y - rows[:, None, None]) / pose.scale
    background, mask = _view(scenery, pose)
    mask[layer[..., 3] > 127] = KINDS.index("sign")
    frame = background * (1.0 - layer[..., 3:] * np.float32(1 / 255))
    frame += layer[..., :3] * sheen
    from_middle = rows - 0.5
    along = from_middle[None, :] * np.cos(light.angle) + from_middle[:, None] * np.sin(light.angle)
    gain = light.exposure * (1.0 + light.slope * along)
    frame *= gain[..., None] * np.array(light.tint, np.float32)
    return np.clip(frame + 0.5, 0, 255).astype(np.uint8), mask


def render(
    rng: np.random.Generator, label: int, *, scale: float | None = None
) -> NDArray[np.uint8]:
    """An independent clean frame, uint8 (160, 160, 3) RGB.

    `scale`: width of the sign in frame widths; random in `SCALES` without it.
    """
    if scale is not None and not 0.0 < scale <= 1.0:
        raise ValueError(f"scale must be in (0, 1], got {scale}")
    return compose(make_scenery(rng), random_pose(rng, scale), random_light(rng), label)[0]
