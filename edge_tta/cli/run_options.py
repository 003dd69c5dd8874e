"""Options of `edge-tta run`, and what of them can be checked before anything is loaded."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from edge_tta.cli import options, values
from edge_tta.cli.help import CommandParser, show_first
from edge_tta.cli.results import check_results
from edge_tta.config import SAVED
from edge_tta.errors import ConfigError
from edge_tta.files import check_folder, check_place
from edge_tta.frames.capture import RECONNECT_S
from edge_tta.run.sinks.curve import ErrorCurve
from edge_tta.run.sinks.updates import words_of
from edge_tta.serve.place import parse_place, read_token
from edge_tta.show import JsonlWriter, VideoRecorder

FIRST = (
    *("--model", "--weights", "--size", "--labels", "--threads"),
    *("--show", "--serve", "--save", "--jsonl", "--state"),
)
"""Options that `--help` shows; `--help-all` shows the others too."""


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(
        prog="edge-tta run",
        description="Adapts a network to a stream of frames, one at a time, and predicts.",
        add_help=False,
        epilog="Stop with q in the window, or Ctrl-C: the frame at work is finished, files are "
        "closed and the state is saved.",
    )
    source = (
        "0 | /dev/video0 | clip.mp4 | folder/ | 'glob*.jpg' | set.npz | http(s)/rtsp URL | demo | "
        "- (a video on standard input)"
    )
    parser.add_argument("source", metavar="SOURCE", help=source)
    options.add_model(parser, default="demo", bundles=True)
    adaptation = options.add_method(parser)
    guard = (
        "blend in the source network, as far as adaptation seems to do harm (default: on, except "
        "for features)"
    )
    adaptation.add_argument("--guard", choices=("on", "off"), help=guard)
    by_time = (
        "weigh neighbouring frames together: a class usually stays for a while (default: on of "
        "classifiers)"
    )
    adaptation.add_argument("--filter", choices=("on", "off"), help=by_time)
    options.add_backend(parser)
    _add_frames(parser.add_argument_group("frames").add_argument)
    learning = parser.add_argument_group("learning")
    every = "adapt by at most every Q-th frame, and only predict between (default: 1)"
    learning.add_argument("--adapt-every", type=values.count, default=1, metavar="Q", help=every)
    when = (
        "learn from the newest frame in a thread beside, so that no frame waits, or from every "
        "frame before the next, as a repeatable run needs (default: async for cameras and streams "
        "where there is more than one core, else sync)"
    )
    learning.add_argument("--adapt", choices=("async", "sync"), help=when)
    saved = "precision of the tensors saved for the backward pass (default: float16)"
    learning.add_argument("--saved", choices=SAVED, help=saved)
    options.add_checkpointing(learning)
    options.add_budget(learning, "this process (CUDA: of the device)")
    budget = (
        "mean time of a frame in the networks, guard and filter: fewer frames are adapted by, as "
        "the machine's pace asks for (default: no limit)"
    )
    learning.add_argument("--budget-ms", type=values.positive, metavar="MS", help=budget)
    _add_outputs(parser.add_argument_group("what to see and keep"))
    options.add_machine(parser)
    show_first(parser, (*FIRST, "--help", "--help-all"))
    return parser


def _add_frames(add: Callable[..., object]) -> None:
    add("--max-frames", type=values.count, metavar="N", help="stop after N frames (default: all)")
    add("--stride", type=values.count, default=1, help="take every STRIDE-th frame")
    fps = (
        "at most so many frames per second: cameras are asked for them; videos are thinned out and "
        "played in their own time, pictures follow at this pace (to leave frames out without "
        "waiting: --stride; default: a camera's own pace, files as fast as the network can)"
    )
    add("--fps", type=values.positive, help=fps)
    lost = "look for a lost camera or stream for S seconds; inf: for ever (default: 60)"
    seconds = values.not_negative
    add("--reconnect", type=seconds, default=RECONNECT_S, metavar="S", help=lost)


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    screen = group.add_mutually_exclusive_group()
    screen.add_argument("--show", action="store_true", help="open a window")
    screen.add_argument("--headless", action="store_true", help="no window (the default)")
    add = group.add_argument
    add(
        "--serve",
        metavar="[HOST:]PORT",
        help="a page to watch, pause, reset and save; seen from other machines with a HOST of this "
        "one or 0.0.0.0, then behind a token",
    )
    add(
        "--token",
        metavar="WORD",
        help="of the page; others can read it in the list of processes "
        "(default: that of --token-file or EDGE_TTA_TOKEN, else made when needed)",
    )
    add("--token-file", type=Path, metavar="FILE", help="the page's token, on the first line")
    add("--save", type=Path, metavar="OUT.mp4", help="annotated video")
    add("--jsonl", metavar="OUT.jsonl", help="a record a frame; - for standard output")
    add("--masks", type=Path, metavar="FOLDER", help="segmenters: a PNG of class numbers a frame")
    add("--state", type=Path, metavar="FILE", help="resumed when it exists, saved as it goes")
    every = "seconds between saves of the state (default: 10)"
    add("--save-every", type=values.positive, default=10.0, metavar="S", help=every)
    update = (
        "run CMD with the name of the ONNX file of --model, adapted, behind it, every 16 frames "
        "that adapt: for an engine of your own"
    )
    add("--on-update", metavar="CMD", help=update)
    compare = (
        "methods to compare with, as source,norm+filter; none (default: source and, with a filter, "
        "source+filter where labels exist)"
    )
    alarm = "tell when the estimated accuracy falls below so many per cent; needs the filter"
    add("--alarm-below", type=values.per_cent, metavar="P", help=alarm)
    add("--compare", metavar="METHODS", help=compare)
    add("--plot", type=Path, metavar="OUT.png", help="error over time, with labels")


def check(arguments: argparse.Namespace) -> None:
    """Refuses what cannot work, and turns --serve into a place and --compare into names or None.

    Raises:
        EdgeTTAError: a result has no place or would be written over the source, or options do not
            fit together.
    """
    for option in ("token", "token_file"):
        if getattr(arguments, option) is not None and arguments.serve is None:
            name = option.replace("_", "-")
            raise ConfigError(f"--{name} is of the page; give --serve [HOST:]PORT too")
    if arguments.token is not None and arguments.token_file is not None:
        raise ConfigError("--token and --token-file both name the token; leave one out")
    if arguments.alarm_below is not None and arguments.filter == "off":
        raise ConfigError(
            "--alarm-below needs the estimate that the filter gives; leave --filter on"
        )
    if arguments.on_update is not None:
        words_of(arguments.on_update)
        if Path(arguments.model).suffix.lower() != ".onnx":
            raise ConfigError(
                f"--on-update hands an ONNX file back, and {arguments.model} is none; give --model "
                "FILE.onnx"
            )
    if arguments.serve is not None:
        arguments.serve = parse_place(arguments.serve, _token(arguments))
    check_results(arguments)
    for path in (arguments.save, arguments.plot, arguments.state):
        if path is not None:
            check_folder(path)
    # What writes a file refuses a place that does not do when it is made.
    if arguments.save is not None:
        VideoRecorder(arguments.save, 1.0)
    if arguments.jsonl is not None:
        JsonlWriter(arguments.jsonl)
    if arguments.plot is not None:
        ErrorCurve(arguments.plot)
    if arguments.state is not None and not arguments.state.exists():
        check_place(arguments.state)
    if arguments.compare is not None:
        names = (name.strip() for name in arguments.compare.split(","))
        arguments.compare = [name for name in names if name not in ("", "none")]


def _token(arguments: argparse.Namespace) -> str | None:
    """Return the page's token that was given, in the command, a file or the environment."""
    if arguments.token_file is not None:
        return read_token(arguments.token_file)
    given: str | None = arguments.token
    return given if given is not None else os.environ.get("EDGE_TTA_TOKEN") or None
