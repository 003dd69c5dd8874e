"""`edge-tta run SOURCE`: adapt a network to a stream of frames."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from edge_tta.adapter import Adapter
from edge_tta.background import Background, has_spare_core
from edge_tta.cli import adapted_onnx, options, suiting, values
from edge_tta.cli.loading import load
from edge_tta.cli.results import check_pictures
from edge_tta.cli.run_options import check, parser
from edge_tta.cli.telling import progress, tell
from edge_tta.cli.terminal import terminal
from edge_tta.demo.source import DEMO
from edge_tta.errors import ConfigError
from edge_tta.frames import FrameSource, PacedSource, open_source, seems_live
from edge_tta.guard import Guard
from edge_tta.run.alarm import Alarm
from edge_tta.run.controls import Controls, Wish
from edge_tta.run.frame_result import SOURCE
from edge_tta.run.generations import previous_of
from edge_tta.run.loop import Loop
from edge_tta.run.predictors import Predictors
from edge_tta.run.schedule import Schedule
from edge_tta.run.sinks import Sink
from edge_tta.run.sinks.alarm import AlarmSink
from edge_tta.run.sinks.curve import ErrorCurve
from edge_tta.run.sinks.jsonl import JsonlSink
from edge_tta.run.sinks.keeper import StateKeeper
from edge_tta.run.sinks.masks import MaskSink
from edge_tta.run.sinks.page import PageSink
from edge_tta.run.sinks.pictures import VideoSink, WindowSink
from edge_tta.run.sinks.updates import UpdateSink
from edge_tta.run.stopping import Stopped, StopRequest
from edge_tta.show import display_problem
from edge_tta.show.video import plays_only_in_players
from edge_tta.tasks import Classes, Segmentation, can_be_guarded
from edge_tta.temporal import Filtered


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(values.joined_numbers(argv))
    check(arguments)
    console = terminal(stderr=True)
    keeper = None
    with console.status("Loading the network"):
        loaded = load(arguments)
        adapter = _for_the_stream(loaded.adapter, arguments)
        classes = Classes(loaded.prepare(adapter), loaded.labels)
        assert adapter.task is not None  # it is prepared
        filtered = adapter.task.filtered
        if arguments.masks is not None and adapter.task.name != Segmentation.name:
            raise ConfigError(f"--masks is for segmenters, and this is {adapter.task.name}")
        suiting.check_filter(arguments, adapter.task)
        suiting.check_guard(arguments, adapter)
        guarded = can_be_guarded(adapter.task) and adapter.config.method != SOURCE
        guard = Guard(adapter) if guarded and arguments.guard != "off" else None
        if arguments.state is not None:
            keeper = StateKeeper(adapter, arguments.state, arguments.save_every, guard)
        options.check_labels(classes.names, classes.count)
        if arguments.labels is not None:
            suiting.check_box_labels(classes.names or (), adapter)
        of_source = adapter.config.method == SOURCE
        over_time = Filtered(guard or adapter, loaded.sure_above, of_source=of_source)
        predictors = Predictors(
            adapter,
            classes,
            task=adapter.task,
            guard=guard,
            by_filter=over_time if filtered and arguments.filter != "off" else None,
            alarm=None if arguments.alarm_below is None else Alarm(arguments.alarm_below),
            compare=arguments.compare,
            schedule=_schedule(arguments, adapter),
        )
    if loaded.why:
        console.print(loaded.why)
    asked_for = arguments.save, arguments.plot, arguments.state, arguments.jsonl
    files = [Path(path) for path in asked_for if path not in (None, "-")]
    before = {path: _stamp(path) for path in files}
    controls = Controls()
    with StopRequest() as stop, ExitStack() as stack:
        if isinstance(adapter, Background):
            stack.enter_context(adapter)
        try:
            with stop.wait():
                source = stack.enter_context(_open_source(arguments, classes))
        except Stopped:
            return stop.exit_code
        source.tell = console.print
        onnx = adapted_onnx.maker(arguments, loaded.bundled)
        sinks = _sinks(arguments, keeper, controls, stop, console, onnx, not filtered)
        if arguments.on_update is not None:
            sinks.append(_update_sink(arguments, adapter, guard, console))
        loop = stack.enter_context(Loop(source, predictors, adapter.input_spec, sinks, controls))
        if keeper is not None and keeper.resumed:
            if keeper.recovered is not None:
                console.print(f"warning: {keeper.recovered}", style="yellow")
            console.print(f"resumed {arguments.state} at step {adapter.steps}")
        elif keeper is not None and (previous := previous_of(keeper.path)).exists():
            console.print(f"{keeper.path} is not there; the save before it is, {previous.name}")
        # Standard output belongs to the records when they go there.
        told, tight = terminal(stderr=arguments.jsonl == "-"), False
        try:
            try:
                with progress(loop, console) as tell_progress:
                    for _ in loop.frames(stop):
                        tell_progress()
                        if loop.tally.frames == 1:
                            _say_if_slow(adapter, console)
                        tight = tight or _say_if_tight(predictors.schedule, console)
            finally:
                if isinstance(adapter, Background):
                    adapter.wait()  # what the last frame taught is saved too
        except BaseException:
            if loop.tally.frames:
                tell(loop, told)
            raise
        tell(loop, told)
        if arguments.plot is not None and loop.tally.frames and not loop.tally.labelled:
            console.print(
                f"no plot in {arguments.plot}: it shows the error, and no frame had a label; give "
                "labels (labels.csv beside the pictures, or folders named like the classes)"
            )
    for path in files:
        if _stamp(path) != before[path]:
            console.print(f"wrote {path}")
    return stop.exit_code


def _for_the_stream(adapter: Adapter, arguments: argparse.Namespace) -> Adapter:
    """Return the adapter, or one that learns beside."""
    live = has_spare_core() and seems_live(arguments.source)
    beside = arguments.adapt == "async" or (arguments.adapt is None and live)
    return Background(adapter) if beside and adapter.config.method != SOURCE else adapter


def _schedule(arguments: argparse.Namespace, adapter: Adapter) -> Schedule:
    """Return which frames to adapt by. Raises ConfigError where none can be."""
    ms = arguments.budget_ms
    if ms is not None and adapter.config.method == SOURCE:
        raise ConfigError(
            "--budget-ms says how often to adapt, and --method source never does; leave it out"
        )
    return Schedule(arguments.adapt_every, math.inf if ms is None else ms / 1e3)


def _open_source(arguments: argparse.Namespace, classes: Classes) -> FrameSource:
    source = open_source(
        arguments.source,
        stride=arguments.stride,
        fps=arguments.fps,
        max_frames=arguments.max_frames,
        classes=classes.names,
        reconnect_s=arguments.reconnect,
        more=DEMO,
    )
    check_pictures(arguments, source.files)
    return source if arguments.fps is None or source.live else PacedSource(source)


def _sinks(
    arguments: argparse.Namespace,
    keeper: StateKeeper | None,
    controls: Controls,
    stop: StopRequest,
    console: Console,
    onnx: Callable[[], bytes] | None,
    beside: bool,
) -> list[Sink]:
    """Return the sinks asked for; the state is saved before the slow plot is drawn.

    onnx: makes the adapted network as a file. beside: what the source network says is shown too.
    """
    sinks: list[Sink] = []
    if arguments.plot is not None:
        sinks.append(ErrorCurve(arguments.plot))
    if arguments.save is not None:
        sinks.append(VideoSink(arguments.save, arguments.fps, beside=beside))
        if (said := plays_only_in_players(arguments.save)) is not None:
            console.print(said)
    if arguments.show:
        problem = display_problem()
        if problem is None:
            sinks.append(WindowSink(stop.ask, beside=beside))
        else:
            console.print(f"edge-tta: {problem}; going on without a window")
    if keeper is not None:
        keeper.tell = console.print
        controls.does[Wish.SAVE] = keeper.save_as_asked
        sinks.append(keeper)
    if arguments.serve is not None:
        sinks.append(PageSink(arguments.serve, controls, console.print, keeper, onnx))
    if arguments.alarm_below is not None:
        sinks.append(AlarmSink(console.print))
    if arguments.masks is not None:
        sinks.append(MaskSink(arguments.masks))
    if arguments.jsonl is not None:
        sinks.append(JsonlSink(arguments.jsonl))
    return sinks


def _update_sink(
    arguments: argparse.Namespace, adapter: Adapter, guard: Guard | None, console: Console
) -> UpdateSink:
    """Return what hands the file of --model, adapted, to --on-update."""
    from edge_tta.models.updates import Updates

    latest: list[bytes] = []
    updates = Updates(
        adapter,
        arguments.model,
        lambda adapted: latest.append(adapted.model.SerializeToString()),
        guard=guard,
    )
    command = arguments.on_update
    return UpdateSink(command, lambda: latest.pop() if updates() else None, console.print)


def _say_if_slow(adapter: Adapter, console: Console) -> None:
    """Say why a bundle predicts slower than it could; it is known after the first frame."""
    why = getattr(adapter.engine, "not_folded", "")
    if why:
        console.print(f"slower predictions: {why}")


def _say_if_tight(schedule: Schedule, console: Console) -> bool:
    """Say that a budget leaves no time to adapt, and return True, where that is so."""
    seconds = schedule.too_tight_s
    if seconds is None:
        return False
    console.print(
        f"--budget-ms {1e3 * schedule.budget_s:g} cannot be met: predictions alone take "
        f"{1e3 * seconds:.1f} ms, and as long as they do, nothing is adapted; raise it, or take a "
        "smaller network or --guard off"
    )
    return True


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tells a file from the one that stood there before; None: there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
