"""A case of `bench latency` and `bench memory`: what runs, on what, with how many threads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from bench.methods import is_filtered, is_guarded
from bench.peers import Peer
from edge_tta.config import MethodConfig, make_config
from edge_tta.config.fields import from_fields, to_fields

BACKENDS = ("torch", "onnx")
DEVICES = ("cpu", "cuda")


class Work(str, Enum):
    """Work of a case on each frame, from the least that is measured to the whole."""

    LEARN_IN_LITTLE = "learn, profile memory"
    PREDICT = "predict"
    BESIDE = "beside"
    OBSERVE = "observe"
    PREDICT_INT8 = "predict, int8"
    OBSERVE_INT8 = "observe, int8"
    LEARN = "learn"
    FOLDED = "folded"
    ADAPT = "adapt"

    @property
    def predicts(self) -> bool:
        """Whether nothing changes but the answer."""
        return self in (Work.PREDICT, Work.PREDICT_INT8)

    @property
    def in_int8(self) -> bool:
        """Whether its bundle is in int8."""
        return self in (Work.PREDICT_INT8, Work.OBSERVE_INT8)

    @property
    def rank(self) -> int:
        """Its number in that order, from 0."""
        return list(Work).index(self)


@dataclass(frozen=True)
class Case:
    """One row's worth of measuring.

    Attributes:
        label: the method's or peer's name among the cases.
        asked: the method as it was asked for, or the peer's name.
        peer: name of a peer; None: a method of this package.
        place: folder of a peer's repository, or of the graphs to run; None where it needs none.
        fields: of `MethodConfig`; empty for a peer.
        threads: for the network; None: as many as there are cores.
        saved: precision of the activations saved for backward (`edge_tta.adapter`).
        checkpoint_activations: segments of activation checkpointing, or `auto`; 0: none.
        work: what is done with a frame. On a CPU PyTorch adapts as the method says; a bundle's
            graphs are measured one by one, as are CUDA's, and `beside`: it predicts, and a thread
            learns.
    """

    label: str
    asked: str
    peer: str | None = None
    place: str | None = None
    fields: Mapping[str, Any] | None = None
    backend: str = "torch"
    device: str = "cpu"
    threads: int | None = None
    saved: str = "stock"
    checkpoint_activations: int | str = 0
    work: Work = Work.ADAPT

    @property
    def config(self) -> MethodConfig:
        """The method's configuration."""
        return from_fields(self.fields or {})

    @property
    def guarded(self) -> bool:
        """Whether the guard of `edge-tta run` stands around it."""
        return is_guarded(self.asked)

    @property
    def filtered(self) -> bool:
        """Whether its answers are filtered over time."""
        return is_filtered(self.asked)

    @property
    def head(self) -> dict[str, Any]:
        """The part of a row that tells of its case."""
        fields = self.fields or {}
        return {
            "method": fields["method"] if self.peer is None else Peer(self.peer, self.place).method,
            "host": fields.get("host") if fields.get("method") == "nanoadapt" else None,
            "label": self.label,
            "asked": self.asked,
            "peer": self.peer is not None,
            "backend": self.backend,
            "device": self.device,
            "threads": self.threads,
            "saved": self.saved,
            "views": int(fields.get("views", 0)),
            "checkpoint_activations": self.checkpoint_activations,
            "guarded": self.guarded,
            "filtered": self.filtered,
            "work": self.work.value,
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for another process."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Case:
        """The inverse of `as_dict`."""
        return cls(**{**values, "work": Work(values["work"])})


def make_cases(
    methods: Mapping[str, MethodConfig],
    peers: Mapping[str, Peer],
    *,
    backends: Sequence[str] = ("torch",),
    devices: Sequence[str] = ("cpu",),
    threads: Sequence[int | None] = (None,),
    saved: Sequence[str] = ("stock",),
    checkpoint_activations: Sequence[int | str] = (0,),
    int8: bool = False,
) -> Iterator[Case]:
    """Cases, all of them, by device and threads, so that those to be compared stand together.

    Peers run on torch, as they are, whatever `saved` and `checkpoint_activations` say. Bundles run
    on the CPU and save activations in float32; the source network beside them is always there.
    int8: predictions and observations by bundles in int8 too.
    """
    for device, count in itertools.product(devices, threads):
        setting = Case("", "", device=device, threads=count)
        for name, peer in peers.items():
            yield replace(setting, label=name, asked=name, peer=name, place=peer.folder)
        for backend in backends:
            if backend == "onnx" and device != "cpu":
                continue
            more = f" ({backend})" if len(backends) > 1 else ""
            cases = (
                _torch_cases(methods, saved, checkpoint_activations, device)
                if backend == "torch"
                else _bundle_cases(methods, int8)
            )
            for case in cases:
                if case.guarded and case.work.predicts:
                    continue  # a guard's prediction follows what it has judged
                yield replace(case, label=case.label + more, device=device, threads=count)


def _torch_cases(
    methods: Mapping[str, MethodConfig],
    saved: Sequence[str],
    checkpoint_activations: Sequence[int | str],
    device: str,
) -> Iterator[Case]:
    for label, config in methods.items():
        works = [Work.ADAPT]
        if device == "cuda" and config.method != "source":
            works = [Work.PREDICT, Work.OBSERVE, *([Work.LEARN] if config.trains else [])]
        case = Case(label, label, fields=to_fields(config))
        precisions = saved if config.trains else saved[:1]
        cuts = checkpoint_activations if config.trains else (0,)
        for precision, cut in itertools.product(precisions, cuts):
            full = f"{label} [{precision}]" if len(precisions) > 1 else label
            full += f" [checkpoint {cut}]" if cut else ""
            case = replace(case, saved=precision, checkpoint_activations=cut)
            for work in works:
                own = full if work is Work.ADAPT else f"{full}, {work.value}"
                yield replace(case, label=own, work=work)


def _bundle_cases(methods: Mapping[str, MethodConfig], int8: bool) -> Iterator[Case]:
    for label, config in {"source": make_config("source"), **methods}.items():
        if config.method == "source":
            works = [Work.FOLDED]
        else:
            works = [Work.PREDICT, Work.OBSERVE]
            works += [Work.PREDICT_INT8, Work.OBSERVE_INT8] if int8 else []
            works += [Work.LEARN, Work.LEARN_IN_LITTLE, Work.BESIDE] if config.trains else []
        for work in works:
            yield Case(
                f"{label}, {work.value}",
                label,
                fields=to_fields(config),
                backend="onnx",
                saved="float32",
                work=work,
            )
