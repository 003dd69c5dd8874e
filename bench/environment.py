"""Machine and versions of a measurement, for its result file."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from edge_tta import __version__
from edge_tta.cli.finding import read, said
from edge_tta.cli.look_machine import GOVERNOR, processor_name


def environment() -> dict[str, Any]:
    """Processor, threads, governor, versions and commit."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "governor": read(GOVERNOR),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "edge_tta": __version__,
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Commit of the checkout that runs, with "+" when it was changed; None outside one."""
    folder = str(Path(__file__).parent)
    describe = ("git", "-C", folder, "describe", "--always", "--dirty=+", "--exclude=*")
    return said(*describe, timeout_s=10.0) or None
