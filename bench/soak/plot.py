"""Memory and latency over a long run, as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from bench.report.look import STYLE
from bench.soak.rows import SoakRow
from edge_tta.files import write_whole


def plot_soak(rows: Sequence[SoakRow], path: Path) -> None:
    """Resident memory above, latency (median and 99th percentile) below, against frames."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 4.6), dpi=130, layout="constrained")
        memory, latency = figure.subplots(2, 1, sharex=True)
        for row in rows:
            frames = [stretch.frames for stretch in row.stretches]
            mib = [stretch.resident_bytes / 2**20 for stretch in row.stretches]
            (line,) = memory.plot(frames, mib, label=row.method)
            colour = line.get_color()
            latency.plot(frames, [1e3 * s.p50_s for s in row.stretches], color=colour)
            latency.plot(
                frames, [1e3 * s.p99_s for s in row.stretches], color=colour, linestyle=":"
            )
        memory.set_ylabel("resident memory (MiB)")
        latency.set_ylabel("ms a frame, median; dotted: p99")
        latency.set_xlabel("frames")
        for axes in (memory, latency):
            axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        if len(rows) > 1:
            memory.legend(frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:].lower() or "png")
    write_whole(path, buffer.getvalue())
