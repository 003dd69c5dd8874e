"""What adapting would gain on pictures of your own, before anything is deployed.

    python evaluate.py FOLDER [MODEL]      FOLDER: pictures with a labels.csv (file,label)

MODEL is what `edge-tta run --model` takes (default: demo). The pictures are put into fog and noise;
each method sees them one at a time, in random order.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_tta.cli.main import main as edge_tta

CORRUPTIONS, SEVERITY = "fog,gaussian_noise", "3"  # of 1 to 5
METHODS = "source,norm,nanoadapt:tent"


def main(arguments: Sequence[str]) -> dict[tuple[str, str], float]:
    """Print and return the error in [0, 1] by method and corruption."""
    folder, model, *_ = *arguments, *("", "demo")[len(arguments) :]
    with tempfile.TemporaryDirectory() as made:
        corrupted, results = Path(made, "corrupted"), Path(made, "error.json")
        made_how = ("--corruption", CORRUPTIONS, "--severity", SEVERITY)
        call("corrupt", folder, str(corrupted), *made_how)
        words = ("--data", str(corrupted), "--severity", SEVERITY, "--json", str(results))
        call("bench", "error", "--model", model, "--methods", METHODS, *words)
        rows = json.loads(results.read_text())["results"]
    return {(row["label"], row["corruption"]): row["error"] for row in rows}


def call(*words: str) -> None:
    """One command of edge-tta; ends with its exit code where it fails."""
    if code := edge_tta(words):
        sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
