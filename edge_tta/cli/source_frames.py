"""--source-frames and what belongs to it: what the source statistics are measured on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edge_tta.cli import values
from edge_tta.cli.terminal import stages, terminal
from edge_tta.errors import ConfigError

if TYPE_CHECKING:
    from edge_tta.models import Model


def add_options(group: argparse._ArgumentGroup) -> None:
    """Add --source-frames, --first-frames and --source-accuracy."""
    group.add_argument(
        "--source-frames",
        metavar="FRAMES",
        help="folder, video or npz of good conditions, unlabelled, of all that the camera sees: "
        "BatchNorms get the statistics that they have there; an ONNX file gets folded ones back",
    )
    group.add_argument(
        "--first-frames",
        type=values.count,
        metavar="N",
        help="the first N of --source-frames; with run and without these, of SOURCE itself, which "
        "must begin in good conditions",
    )
    group.add_argument(
        "--source-accuracy",
        type=values.per_cent,
        metavar="P",
        help="a classifier's accuracy on the source frames, in per cent, as 92: with it the "
        "accuracy is estimated in random order too; without, it is what their labels say, if all "
        "have one",
    )


def with_batch_norm(model: Model, arguments: argparse.Namespace) -> Model:
    """Return the model with what its source frames, if there are any, tell."""
    from edge_tta.models.source_frames import with_source_frames

    frames, most = arguments.source_frames, arguments.first_frames
    if frames is None and most is not None:
        frames = getattr(arguments, "source", None)
        if frames is None or frames == "-":
            raise ConfigError(
                "--first-frames is how many of the --source-frames are taken; give these too"
            )
    accuracy = arguments.source_accuracy
    if frames is None and accuracy is not None:
        raise ConfigError("--source-accuracy is that on the --source-frames; give these too")
    console = terminal(stderr=True)
    if frames is not None and arguments.source_frames is None:
        console.print(
            f"the first {most} frames of {frames} are taken for good conditions: what they show is "
            "the source that everything later is compared with"
        )
    with stages(console, "source frames") as tell:
        model, told = with_source_frames(model, frames, most, tell, accuracy)
    if told:
        console.print(told)
    return model
