"""Augmented views of frames for the proxy computation graph (NanoAdapt, PCG).

Each view is made by one random augmentation, a different one for each view of a frame: rotation,
crop, flip, grayscale, saturation. The paper names the five and not their strengths; those below
are mild enough to keep what the picture shows.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.prepare import Channels, Images, InputSpec

# One picture (H, W, C), float32; for colours RGB in 0..255.
Picture = npt.NDArray[np.float32]
Augmentation = Callable[[Picture, np.random.Generator], Picture]

MAX_ROTATION_DEG = 15.0
MIN_CROP_SIDE = 0.75
SATURATION_RANGE = (0.4, 1.6)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def rotate(picture: Picture, rng: np.random.Generator) -> Picture:
    """Rotate about the centre by up to 15 degrees, edges mirrored."""
    height, width = picture.shape[:2]
    angle = rng.uniform(-MAX_ROTATION_DEG, MAX_ROTATION_DEG)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    turned = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return _restore(turned, picture)


def crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """A window of 75-100 % of each side, resized back."""
    height, width = picture.shape[:2]
    side = rng.uniform(MIN_CROP_SIDE, 1.0)
    # At least a row and a column less: a window of everything would be the frame once more.
    h = max(1, min(round(height * side), height - 1))
    w = max(1, min(round(width * side), width - 1))
    top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
    window = np.ascontiguousarray(picture[top : top + h, left : left + w])
    return _restore(cv2.resize(window, (width, height), interpolation=cv2.INTER_LINEAR), picture)


def flip(picture: Picture, rng: np.random.Generator) -> Picture:
    """Exchange left and right."""
    return np.ascontiguousarray(picture[:, ::-1])


def grayscale(picture: Picture, rng: np.random.Generator) -> Picture:
    """Luma in every channel."""
    gray = (picture @ _LUMA)[..., None]
    return np.broadcast_to(gray, picture.shape).astype(np.float32)


def saturate(picture: Picture, rng: np.random.Generator) -> Picture:
    """Colour drawn towards or away from luma by a factor of 0.4-1.6, kept in 0..255."""
    gray = (picture @ _LUMA)[..., None]
    factor = np.float32(rng.uniform(*SATURATION_RANGE))
    return np.clip(gray + factor * (picture - gray), 0, 255)


GEOMETRIC: tuple[Augmentation, ...] = (rotate, crop, flip)
COLOUR: tuple[Augmentation, ...] = (grayscale, saturate)
MAX_VIEWS = len(GEOMETRIC) + len(COLOUR)


def make_views(images: Images, count: int, spec: InputSpec, rng: np.random.Generator) -> Images:
    """Each image followed by `count` views of it: (N, C, H, W) -> (N * (1 + count), C, H, W).

    `images` are normalised as `spec` says, and so are the views. Colour augmentations need three
    channels, RGB or BGR; images with another number take the geometric ones, which then may repeat.
    """
    if not count:
        return images.copy()
    n, *shape = images.shape
    views = np.empty((n, 1 + count, *shape), np.float32)
    views[:, 0] = images
    choices = GEOMETRIC + COLOUR if shape[0] == len(spec.mean) == 3 else GEOMETRIC
    for of_image in views:
        picture = np.ascontiguousarray(of_image[0].transpose(1, 2, 0))
        order = np.concatenate([rng.permutation(len(choices)) for _ in range(-(-count // 3))])
        for k, which in enumerate(order[:count]):
            if choices[which] in COLOUR:
                view = _recoloured(picture, choices[which], spec, rng)
            else:
                view = choices[which](picture, rng)
            of_image[1 + k] = view.transpose(2, 0, 1)
    return views.reshape(-1, *shape)


def _recoloured(
    picture: Picture, augmentation: Augmentation, spec: InputSpec, rng: np.random.Generator
) -> Picture:
    """Return a normalised picture with other colours, which are made in RGB from 0 to 255."""
    to_rgb = -1 if spec.channels is Channels.BGR else 1
    pixels = spec.pixels(picture.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
    changed = augmentation(pixels[..., ::to_rgb], rng)[..., ::to_rgb]
    recoloured: Picture = spec.of_pixels(changed.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
    return recoloured


def _restore(result: npt.NDArray[np.generic], like: Picture) -> Picture:
    """OpenCV drops a channel axis of length one."""
    return np.asarray(result, np.float32).reshape(like.shape)
