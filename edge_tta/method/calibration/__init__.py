"""Calibrations: which statistics a BatchNorm layer normalises with. One module, one record each.

A record holds numbers, never anything that changes; what it remembers of the stream is in the
state, under keys that begin with `calib.`.
"""

from __future__ import annotations

from edge_tta.config import CalibrationConfig
from edge_tta.method.calibration.anchored import Anchored
from edge_tta.method.calibration.base import Calibration
from edge_tta.method.calibration.framewise import Framewise
from edge_tta.method.calibration.mixed import Mixed
from edge_tta.method.calibration.renormalised import Renormalised
from edge_tta.method.calibration.running import Running
from edge_tta.method.calibration.source import Source
from edge_tta.network.program import Program


def make_calibration(program: Program, table: CalibrationConfig) -> Calibration:
    """Return the calibration that a configuration asks for."""
    layers = program.layers
    if table.kind == "anchored":
        return Anchored(
            layers,
            classes=program.classes,
            smoothing=table.smoothing,
            lasting_smoothing=table.lasting_smoothing,
            prior_frames=table.prior_frames,
            anchors=(table.anchor, table.recent_anchor),
            dead_zone=table.dead_zone,
            tracking_rate=table.tracking_rate,
        )
    if table.kind == "framewise":
        return Framewise(
            layers,
            [min(s.stride for s in program.sites if s.layer.name == a.name) for a in layers],
            smoothing=table.smoothing,
            prior_frames=table.prior_frames,
            alpha=table.alpha,
            strength=table.strength,
            coarsest=table.coarsest,
        )
    if table.kind == "mixed":
        return Mixed(layers, table.alpha)
    if table.kind == "renormalised":
        return Renormalised(layers, table.smoothing, table.prior_frames, table.initial)
    if table.kind == "source":
        return Source(layers)
    return Running(layers, table.smoothing, table.prior_frames, table.initial)


__all__ = ["Anchored", "Calibration", "make_calibration"]
