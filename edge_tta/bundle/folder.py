"""A bundle's folder, checked before anything of it is run."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

from edge_tta.bundle.graphs import check_graph
from edge_tta.bundle.manifest import MANIFEST, REMEDY, Manifest, read_manifest
from edge_tta.bundle.records import FileRecord
from edge_tta.bundle.runtime import Session, open_session
from edge_tta.checkpoint import ADVICE, Arrays, Header, check_tensors, load_state
from edge_tta.errors import BundleError, ConfigError, StateError
from edge_tta.small_files import check_ordinary
from edge_tta.tasks import Task, task_named


def is_bundle(path: str | Path) -> bool:
    """Tell whether a path is meant as a bundle: a folder."""
    return Path(path).is_dir()


class Bundle:
    """An opened bundle; several adapters may share it.

    Every file is compared with the manifest, and every graph looked into, when this is made; no
    graph is run or loaded.

    Args:
        threads: of one operator; None: as many as there are cores.
        profile: of `edge_tta.bundle.runtime`; None: what the bundle advises.
        task: what the outputs mean; None: as the bundle says.

    Raises:
        BundleError: a file is missing, changed, or reaches outside the folder.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int | None = None,
        profile: str | None = None,
        task: Task | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.manifest: Manifest = read_manifest(self.folder)
        self.task = task or _task_of(self.manifest, self.folder)
        self.threads, self.profile = threads, profile or self.manifest.advice.profile
        for name, record in self.manifest.files.items():
            _check_file(self.folder / name, record)
        weights = self.manifest.weights
        size = self.manifest.files[weights].bytes
        for method in self.manifest.methods.values():
            for graph in method.graphs:
                check_graph(self.folder / graph, weights, size)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the network's weights."""
        return self.manifest.source_sha256

    def with_threads(self, threads: int) -> Bundle:
        """Return the same bundle for another number of threads; its files stay checked."""
        other = copy.copy(self)
        other.threads = threads
        return other

    def session(self, graph: str, *, int8: bool = False) -> Session:
        """Return a session of one of the graphs; int8: as of `open_session`."""
        return open_session(self.folder / graph, self.threads, self.profile, int8=int8)

    def source_state(self, label: str) -> tuple[Arrays, Header]:
        """Return the state of a method before the first frame.

        Raises:
            BundleError: it is not what the manifest says.
        """
        record = self.manifest.methods[label]
        path = self.folder / record.state
        try:
            arrays, header = load_state(path)
            check_tensors(path, arrays, record.layout)
        except StateError as error:
            raise BundleError(f"{str(error).removesuffix(f'; {ADVICE}')}; {REMEDY}") from error
        if header.source_sha256 != self.fingerprint:
            raise BundleError(f"{path} is of another network than {MANIFEST} says; {REMEDY}")
        return arrays, header


def _task_of(manifest: Manifest, folder: Path) -> Task:
    try:
        return task_named(manifest.task)
    except ConfigError as error:
        raise BundleError(f"{folder / MANIFEST}: {error}; use a newer edge_tta") from error


def _check_file(path: Path, record: FileRecord) -> None:
    try:
        check_ordinary(path)
        with path.open("rb") as file:
            digest, size = hashlib.sha256(), 0
            while size <= record.bytes and (block := file.read(1 << 20)):
                digest.update(block)
                size += len(block)
    except FileNotFoundError as error:
        raise BundleError(f"the bundle lacks {path}; {REMEDY}") from error
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror or error}; {REMEDY}") from error
    if size != record.bytes:
        raise BundleError(f"{path} is not of {record.bytes} bytes, as {MANIFEST} says; {REMEDY}")
    if digest.hexdigest() != record.sha256:
        raise BundleError(
            f"{path} is not the file that was exported (its SHA-256 differs); {REMEDY}"
        )
