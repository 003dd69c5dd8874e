"""A case of `bench latency` and `bench memory`: what runs, on what, with how many threads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.cost.peers import PEERS
from bench.cost.repositories import REPOSITORIES
from bench.methods import is_guarded
from edge_tta.config import MethodConfig
from edge_tta.errors import ConfigError

BACKENDS = ("torch", "onnx")
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Case:
    """One row's worth of measuring.

    Attributes:
        label: the method's or peer's name among the cases.
        asked: the method as it was asked for, or the peer's name.
        peer: name of a peer; None: a method of this package.
        place: folder of a peer's repository; None where it needs none.
        fields: of `MethodConfig`; empty for a peer.
        saved: precision of the tensors saved for the backward pass (`edge_tta.adapter`).
        checkpoint_activations: segments of activation checkpointing, or `auto`; 0: none.
        guarded: whether the guard of `edge-tta run` stands around it.
        threads: for the network; None: as many as there are cores.
    """

    label: str
    asked: str
    peer: str | None
    place: str | None
    fields: Mapping[str, Any]
    backend: str
    device: str
    threads: int | None
    saved: str
    checkpoint_activations: int | str = 0
    guarded: bool = False

    @property
    def head(self) -> dict[str, Any]:
        """What a row says of its case."""
        return {
            "method": str(self.fields.get("method", "tent")),
            "host": self.fields.get("host") if self.fields.get("method") == "nanoadapt" else None,
            "label": self.label,
            "asked": self.asked,
            "peer": self.peer is not None,
            "backend": self.backend,
            "device": self.device,
            "threads": self.threads,
            "saved": self.saved,
            "views": int(self.fields.get("views", 0)),
            "checkpoint_activations": self.checkpoint_activations,
            "guarded": self.guarded,
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for another process."""
        return asdict(self)


def make_cases(
    methods: Mapping[str, MethodConfig],
    peers: Mapping[str, str | None],
    *,
    backends: Sequence[str],
    devices: Sequence[str],
    threads: Sequence[int | None],
    saved: Sequence[str],
    checkpoint_activations: Sequence[int | str] = (0,),
) -> Iterator[Case]:
    """All cases. Peers run on torch, as they are, whatever `saved` and
    `checkpoint_activations` say.

    Methods come by device and threads, so that those to be compared stand together.
    """
    for device, count in itertools.product(devices, threads):
        for name, place in peers.items():
            yield Case(name, name, name, place, {}, "torch", device, count, "stock")
        for backend, (label, config) in itertools.product(backends, methods.items()):
            on_torch = backend == "torch" and config.trains
            precisions = saved if on_torch else saved[:1]
            counts = checkpoint_activations if on_torch else (0,)
            for precision, segments in itertools.product(precisions, counts):
                full = f"{label} [{precision}]" if len(precisions) > 1 else label
                if segments:
                    full += f" [checkpoint {segments}]"
                if len(backends) > 1:
                    full += f" ({backend})"
                fields = config.as_dict()
                yield Case(
                    full, label, None, None, fields, backend, device, count, precision, segments,
                    is_guarded(label),
                )  # fmt: skip


def parse_peers(text: str) -> dict[str, str | None]:
    """Peers by name, from NAME or NAME=FOLDER separated by commas.

    Raises:
        ConfigError: an unknown peer, or a public repository without its folder.
    """
    found: dict[str, str | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, place = part.partition("=")
        if name in PEERS and not place:
            found[name] = None
        elif name in REPOSITORIES and place:
            found[name] = place
        elif name in REPOSITORIES:
            raise ConfigError(
                f"peer {name} needs a checked-out copy: git clone https://github.com/{name}, then "
                f"--peers {name}=FOLDER"
            )
        else:
            known = [*PEERS, *(f"{name}=FOLDER" for name in REPOSITORIES)]
            raise ConfigError(f"unknown peer {part!r}; expected {', '.join(known)}")
    return found
