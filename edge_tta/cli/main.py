"""Entry point: finds the subcommand, and turns failures into one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType

from edge_tta import __version__
from edge_tta.cli import completion
from edge_tta.errors import EdgeTTAError, one_line
from edge_tta.signals import ENDING, handled

# name: (module, what it does). Imported when called: only `run` needs a network, `bench` and
# `export` are packages of their own that build on this one.
COMMANDS = {
    "run": ("edge_tta.cli.run", "adapt a network to a camera, video, folder or address"),
    "doctor": ("edge_tta.cli.doctor", "what this machine has, and what is missing"),
    "corrupt": ("bench.cli.corrupt", "make corrupted copies of pictures, to measure on"),
    "bench": ("bench.cli.main", "measure error, latency and memory"),
    "export": ("export.cli", "write what was learned for use elsewhere"),
}

# What an installation for a device lacks.
DESK_PACKAGES = {"onnx", "torch", "torchvision"}

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class Terminated(KeyboardInterrupt):
    """A signal to end, heeded as Ctrl-C is.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit code.

    0; 1 for a failure that the user can act on, told in one line; 2 for a wrong command line;
    128 + the signal after Ctrl-C (130), SIGTERM or SIGHUP.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _quiet_dependencies()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter of a class's name is no reason to end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if completion.ASKED in os.environ:
            completion.answer(_parser(), COMMANDS)
        if not arguments or arguments[0] not in COMMANDS:
            return _top_level(arguments)
        with _heeding_termination():
            command = importlib.import_module(COMMANDS[arguments[0]][0])
            code: int = command.main(arguments[1:])
            return code
    except EdgeTTAError as error:
        return _fail(one_line(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in DESK_PACKAGES:
            raise
        return _fail(
            f"{arguments[0]} needs {package}, which is not installed: pip install 'edge-tta[torch]'"
        )
    except Terminated as signalled:
        return _fail("terminated", 128 + signalled.number)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader has gone (edge-tta ... | head); Python's own flush at exit must not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except SystemExit as leaving:  # argparse
        return leaving.code if isinstance(leaving.code, int) else USAGE


@contextlib.contextmanager
def _heeding_termination() -> Iterator[None]:
    """A block that SIGTERM and SIGHUP end as Ctrl-C does: nothing half made is left in folders."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    others = [number for number in ENDING if number != signal.SIGINT]
    with handled(end, [each for each in others if signal.getsignal(each) is signal.SIG_DFL]):
        yield


def _fail(said: str, code: int = FAILED) -> int:
    print(f"edge-tta: {said}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-tta",
        description="Keeps a BatchNorm network accurate on the device itself, frame by frame.",
        epilog="edge-tta COMMAND --help tells more.",
    )
    parser.add_argument("--version", action="version", version=f"edge-tta {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (_, what) in COMMANDS.items():
        commands.add_parser(name, help=what, add_help=False)
    return parser


def _top_level(arguments: Sequence[str]) -> int:
    parser = _parser()
    if not arguments:
        parser.print_help(sys.stderr)
    else:
        parser.parse_args(arguments)
    return USAGE


def _quiet_dependencies() -> None:
    """Silences what users cannot act on: PyTorch deprecates parts of itself that it still uses."""
    warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message=r".*torch\.jit", category=FutureWarning)
