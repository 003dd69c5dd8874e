"""Coverage-guided fuzzing: python -m tests.fuzz TARGET SECONDS, with `pip install atheris`.

An input that breaks something is written to found/TARGET/, where it stays as a test.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

PACKAGES = ["edge_tta", "bench"]


def main(name: str, seconds: str) -> None:
    """Runs libFuzzer on one target; does not return."""
    import atheris

    with atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz.seeds import FOUND, seeds
        from tests.fuzz.targets import TARGETS

    corpus = Path(tempfile.mkdtemp())
    for number, data in enumerate(seeds(name)):
        (corpus / str(number)).write_bytes(data)

    def one(data: bytes) -> None:
        try:
            TARGETS[name](data)
        except Exception:
            folder = FOUND / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
            raise

    options = [f"-max_total_time={seconds}", "-rss_limit_mb=4096", "-max_len=8192"]
    artifacts = f"-artifact_prefix={corpus}/"
    atheris.Setup([sys.argv[0], *options, artifacts, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
