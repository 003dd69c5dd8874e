"""`edge-tta run SOURCE`: adapt a network to a stream of frames."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from edge_tta.cli import options
from edge_tta.cli.loading import Loaded, load
from edge_tta.cli.terminal import terminal
from edge_tta.config import SAVED
from edge_tta.demo.source import DEMO
from edge_tta.errors import ConfigError
from edge_tta.executor import Executor
from edge_tta.frames import FrameSource, PacedSource, open_source
from edge_tta.files import check_folder

from edge_tta.frames.capture import RECONNECT_S
from edge_tta.guard import Guard
from edge_tta.run.controls import Controls
from edge_tta.run.curve import ErrorCurve
from edge_tta.run.keeper import StateKeeper
from edge_tta.run.session import FROZEN, Outputs, Session
from edge_tta.run.stopping import Stopped, StopRequest
from edge_tta.run.summary import guard_line, latency_line, summary_table, warning_line
from edge_tta.serve.hub import Hub
from edge_tta.serve.place import parse_place
from edge_tta.serve.server import PageServer
from edge_tta.show import JsonlWriter, VideoRecorder, Window, display_problem

_PLAIN_EVERY_S = 10.0
_DEFAULT_FPS = 25.0


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(
        prog="edge-tta run",
        description="Adapts a network to a stream of frames, one at a time, and predicts.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Stop with q in the window, or Ctrl-C: the frame at work is finished, files are "
        "closed and the state is saved.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="0 | /dev/video0 | clip.mp4 | folder/ | 'glob*.jpg' | http(s)/rtsp URL | demo | - "
        "(a video on standard input)",
    )
    options.add_model(parser, default="demo", bundles=True)
    options.add_method(parser)
    parser.add_argument(
        "--guard",
        choices=("on", "off"),
        default="on",
        help="fall back to the source network where adaptation seems to do harm (default: on)",
    )
    options.add_backend(parser)
    learning = parser.add_argument_group("learning")
    learning.add_argument(
        "--adapt-every",
        type=options.count,
        metavar="Q",
        help="learn on every Q-th frame (default: what a bundle advises, else 1)",
    )
    learning.add_argument(
        "--max-frames", type=options.count, metavar="N", help="stop after N frames"
    )
    learning.add_argument(
        "--stride", type=options.count, default=1, help="take every STRIDE-th frame"
    )
    learning.add_argument(
        "--fps",
        type=options.positive,
        help="at most so many frames per second: cameras are asked for them; videos are thinned "
        "out and played in their own time, pictures follow at this pace (to leave frames out "
        "without waiting: --stride)",
    )
    learning.add_argument(
        "--reconnect",
        type=options.not_negative,
        default=RECONNECT_S,
        metavar="S",
        help="look for a lost camera or stream for S seconds; inf: for ever (default: 60)",
    )
    learning.add_argument(
        "--saved",
        choices=SAVED,
        help="precision of the tensors saved for the backward pass (default: float16)",
    )
    options.add_checkpointing(learning)
    options.add_budget(learning, "this process (CUDA: of the device)")
    out = parser.add_argument_group("what to see and keep")
    screen = out.add_mutually_exclusive_group()
    screen.add_argument("--show", action="store_true", help="open a window")
    screen.add_argument("--headless", action="store_true", help="no window (the default)")
    out.add_argument(
        "--serve",
        metavar="[HOST:]PORT",
        help="a page to watch, pause, reset and save; seen from other machines with a HOST of this "
        "one or 0.0.0.0, then behind a token",
    )
    out.add_argument("--token", metavar="WORD", help="of the page (default: made when needed)")
    out.add_argument("--save", type=Path, metavar="OUT.mp4", help="annotated video")
    out.add_argument("--jsonl", metavar="OUT.jsonl", help="a record a frame; - for standard output")
    out.add_argument(
        "--state", type=Path, metavar="FILE", help="resumed when it exists, saved as it goes"
    )
    out.add_argument(
        "--save-every",
        type=options.positive,
        default=10.0,
        metavar="S",
        help="seconds between saves of the state (default: 10)",
    )
    out.add_argument(
        "--compare",
        metavar="METHODS",
        help="methods to run beside, as source,norm; none (default: source where labels exist)",
    )
    out.add_argument("--plot", type=Path, metavar="OUT.png", help="error over time, with labels")
    options.add_machine(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(options.joined_numbers(argv))
    console = terminal(stderr=True)
    if arguments.token is not None and arguments.serve is None:
        raise ConfigError("--token is of the page; give --serve [HOST:]PORT too")
    place = None if arguments.serve is None else parse_place(arguments.serve, arguments.token)
    for path in (arguments.save, arguments.plot, arguments.state):
        if path is not None:
            check_folder(path)
    controls = Controls()
    with console.status("Loading the network"):
        loaded = load(arguments)
        executor = loaded.executor
        frozen = executor.config.method == FROZEN
        guard = None if frozen or arguments.guard == "off" else Guard(executor)
        outputs = Outputs()
        if arguments.state is not None:
            outputs.keeper = StateKeeper(executor, arguments.state, arguments.save_every, guard)
        classes = loaded.prepare()
        options.check_labels(loaded.labels, classes)
        compare = _compared(arguments, loaded)
    if loaded.why:
        console.print(loaded.why)
    kept = [path for path in (arguments.save, arguments.plot, arguments.state) if path is not None]
    before = {path: _stamp(path) for path in kept}
    with StopRequest() as stop, ExitStack() as stack:
        try:
            with stop.wait():
                source = _open_source(arguments, loaded)
        except Stopped:
            return _exit_code(stop)
        stack.enter_context(source)
        source.tell = console.print
        if outputs.keeper is not None:
            outputs.keeper.tell = console.print
        _open_outputs(outputs, arguments, executor, source, console, stack)
        if place is not None:
            outputs.page = Hub()
            page = stack.enter_context(PageServer(place, outputs.page, controls.ask))
            console.print(f"watch at {page.url}", soft_wrap=True, highlight=False)
        session = Session(
            source,
            executor,
            loaded.input,
            loaded.labels,
            outputs,
            classes=classes,
            adapt_every=loaded.adapt_every,
            compare=compare,
            guard=guard,
            controls=controls,
        )
        if outputs.keeper is not None and outputs.keeper.resumed:
            if outputs.keeper.recovered is not None:
                console.print(f"warning: {outputs.keeper.recovered}", style="yellow")
            console.print(f"resumed {arguments.state} at step {executor.steps}")
        # Standard output belongs to the records when they go there.
        told = terminal(stderr=arguments.jsonl == "-")
        try:
            _watch(session, source, stop, console)
        except BaseException:
            if session.tally.frames:
                _tell(session, source, loaded, told)
            raise
        _tell(session, source, loaded, told)
        if outputs.curve is not None and session.tally.frames and not session.tally.labelled:
            console.print(
                f"no plot in {arguments.plot}: it shows the error, and no frame had a label; give "
                "labels (labels.csv beside the pictures, or folders named like the classes)"
            )
    for path in kept:
        if _stamp(path) != before[path]:
            console.print(f"wrote {path}")
    return _exit_code(stop)


def _exit_code(stop: StopRequest) -> int:
    return 0 if stop.signal is None else 128 + stop.signal


def _open_source(arguments: argparse.Namespace, loaded: Loaded) -> FrameSource:
    """The source; ConfigError when a result would be written over it."""
    for out in (arguments.save, arguments.jsonl, arguments.state, arguments.plot):
        if out not in (None, "-") and options.same_file(Path(arguments.source), Path(out)):
            raise ConfigError(f"{out} is the source itself; choose another name for the result")
    source = open_source(
        arguments.source,
        stride=arguments.stride,
        fps=arguments.fps,
        max_frames=arguments.max_frames,
        classes=loaded.labels,
        reconnect_s=arguments.reconnect,
        more=DEMO,
    )
    return source if arguments.fps is None or source.live else PacedSource(source)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tells a file from the one that stood there before; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _compared(arguments: argparse.Namespace, loaded: Loaded) -> list[Executor] | None:
    """Executors to run beside, on the same frozen weights; None: to be decided by the labels."""
    if arguments.compare is None:
        return None
    names = [name.strip() for name in arguments.compare.split(",")]
    found = {name: loaded.beside(name) for name in names if name not in ("", "none")}
    own = loaded.executor.config.label
    return [other for other in found.values() if other.config.label != own]


def _open_outputs(
    outputs: Outputs,
    arguments: argparse.Namespace,
    executor: Executor,
    source: FrameSource,
    console: Console,
    stack: ExitStack,
) -> None:
    if arguments.plot is not None:
        outputs.curve = ErrorCurve(arguments.plot, executor.config.label)
        stack.callback(outputs.curve.save)
    if arguments.jsonl is not None:
        outputs.jsonl = stack.enter_context(JsonlWriter(arguments.jsonl))
    if arguments.save is not None:
        fps = source.fps or arguments.fps or _DEFAULT_FPS
        outputs.video = stack.enter_context(VideoRecorder(arguments.save, fps))
    if arguments.show:
        problem = display_problem()
        if problem is None:
            outputs.window = stack.enter_context(Window(f"edge-tta: {source.name}"))
        else:
            console.print(f"edge-tta: {problem}; going on without a window")


def _watch(session: Session, source: FrameSource, stop: StopRequest, console: Console) -> None:
    """Runs the session with a progress bar, or a line now and then where there is no terminal."""
    columns = (
        [BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        if source.length is not None
        else [SpinnerColumn(), MofNCompleteColumn()]
    )
    progress = Progress(
        TextColumn("{task.description}"),
        *columns,
        TextColumn("{task.fields[said]}"),
        console=console,
        disable=not console.is_terminal,
    )
    said_s = started_s = time.monotonic()
    with progress:
        task = progress.add_task(source.name, total=source.length, said="")
        for _ in session.frames(stop):
            done, now_s = session.tally.frames, time.monotonic()
            said = _so_far(session, done / max(now_s - started_s, 1e-9))
            progress.update(task, completed=done, said=said)
            if not console.is_terminal and now_s - said_s >= _PLAIN_EVERY_S:
                said_s = now_s
                total = f"/{source.length}" if source.length is not None else ""
                console.print(f"{source.name}: {done}{total} frames, {said}")


def _so_far(session: Session, fps: float) -> str:
    errors = [
        f"{name} {100 * errors.error():.1f} %" for name, errors in session.tally.errors.items()
    ]
    return ", ".join([f"{fps:.1f} fps", *(["error: " + ", ".join(errors)] if errors else [])])


def _tell(session: Session, source: FrameSource, loaded: Loaded, console: Console) -> None:
    """The table and what else there is to know at the end."""
    tally, label = session.tally, loaded.executor.config.label
    if tally.frames:
        console.print(summary_table(tally, label, loaded.labels))
        console.print(latency_line(tally))
        guarded = guard_line(tally)
        if guarded is not None:
            console.print(guarded, style="yellow" if tally.fallen else None)
        warning = warning_line(tally, label)
        if warning is not None:
            console.print(f"warning: {warning}", style="yellow")
    if source.dropped:
        dropped = ", ".join(f"{times} {why}" for why, times in source.dropped.most_common())
        console.print(f"left out: {dropped}")
    if tally.not_learned:
        kept = ", ".join(f"{times} {why}" for why, times in tally.not_learned.most_common())
        console.print(f"predicted, not learned from: {kept}")
    if source.reconnected:
        console.print(f"lost and found again: {source.reconnected} times")
