"""What adaptation costs: measured in time and bytes, case by case."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from bench.cli.cost import MODEL_OPTIONS, input_of
from bench.cost.bundles import with_bundles
from bench.cost.case import Case, Work, make_cases
from bench.cost.frames import frames_of
from bench.cost.latency import (
    SETTLING,
    Timing,
    drift,
    instability,
    latency_row,
    measure_latency,
    ratios,
)
from bench.cost.memory import measure_memory
from bench.cost.onnx_subjects import FOLDED, OnnxSubject
from bench.cost.onnx_subjects import Maker as OnnxMaker
from bench.cost.process import MeasureError
from bench.cost.torch_subjects import AdapterSubject, Maker
from bench.cost.worker import Loaded
from bench.methods import is_filtered, parse_methods
from bench.peers import parse_peers
from bench.peers.stock import StockTent, checkpointed_tent
from bench.report import make_sections
from bench.report.cost.memory import meanings
from bench.report.cost.tradeoff import Point, draw, points_of
from bench.report.document import markdown
from bench.results import ResultError, Results, read_results
from bench.untrained import untrained
from edge_tta.adapter import Adapter
from edge_tta.cli.loading import DEMO_BUNDLE
from edge_tta.cli.main import main
from edge_tta.engines.base import Backward
from edge_tta.errors import ModelError
from edge_tta.guard import Guard
from edge_tta.models import Model, load_model
from edge_tta.network.saved import node_tensors, saved_bytes
from edge_tta.prepare import InputSpec
from edge_tta.temporal import Filtered
from tests.bench.test_cli_error import NET
from tests.cli.commands import call
from tests.networks import network

CPU = torch.device("cpu")


def case(label: str = "tent-stock", **changes: Any) -> Case:
    return Case(label, label, **{"peer": label, "threads": 1, **changes})


class Slow:
    """Takes a known time in each stage."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self.seen = seconds, 0

    def listen(self, on_stage: Any) -> None:
        self._on_stage = on_stage

    def frame(self, image: Any) -> None:
        self.seen += 1
        for stage in ("forward", "backward"):
            time.sleep(self._seconds)
            self._on_stage(stage)

    def learned(self) -> int:
        return self.seen


def test_stock_tent_equals_this_package_s_tent() -> None:
    net = network("plain")
    peer, own = StockTent(net, CPU), Adapter(net, "tent", backward=Backward("stock"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        images = torch.randn(4, 3, 12, 12, generator=generator)
        torch.testing.assert_close(peer(images), own(images), rtol=1e-3, atol=1e-4)


def test_checkpointing_computes_the_same_and_keeps_less() -> None:
    net = untrained("torchvision:resnet18", 64).module
    images = torch.randn(2, 3, 64, 64)
    peers = StockTent(net, CPU), checkpointed_tent(net, CPU)
    kept = []
    for peer in peers:
        there = {p.untyped_storage().data_ptr() for p in peer.model.parameters()}
        kept.append(saved_bytes(lambda p=peer: p(images), there))
    assert kept[1] < kept[0] / 2
    torch.testing.assert_close(peers[0](images), peers[1](images), rtol=1e-3, atol=1e-3)


def test_checkpointing_refuses_a_network_whose_parts_it_cannot_tell() -> None:
    with pytest.raises(ModelError, match="does not know the parts of a Residual"):
        checkpointed_tent(network("residual"), CPU)


class _Masked(torch.autograd.Function):
    """Keeps one tensor where autograd sees it and one where it does not."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.mask = x > 0
        ctx.save_for_backward(x)
        return x * ctx.mask

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * ctx.mask


def test_what_a_custom_function_keeps_beside_autograd_is_counted_too() -> None:
    kept: list[torch.Tensor] = []

    def run() -> None:
        y = _Masked.apply(torch.ones(100, requires_grad=True) * 2)
        kept.extend(node_tensors())
        y.sum().backward()

    assert saved_bytes(run) == 400
    kept.clear()
    assert saved_bytes(run, (), kept) == 400 + 100


def test_each_method_runs_on_each_backend_device_and_precision_that_was_asked_for() -> None:
    methods = parse_methods("source,nanoadapt:tent")
    cases = list(
        make_cases(
            methods,
            parse_peers("tent-stock"),
            backends=["torch", "onnx"],
            devices=["cpu"],
            threads=[1, 2],
            saved=["float16", "int8"],
        )
    )
    assert [c.label for c in cases if c.threads == 1] == [
        "tent-stock",
        "source (torch)",
        "nanoadapt:tent [float16] (torch)",
        "nanoadapt:tent [int8] (torch)",
        "source, folded (onnx)",
        "nanoadapt:tent, predict (onnx)",
        "nanoadapt:tent, observe (onnx)",
        "nanoadapt:tent, learn (onnx)",
        "nanoadapt:tent, learn, profile memory (onnx)",
        "nanoadapt:tent, beside (onnx)",
    ]
    assert len({(c.label, c.threads) for c in cases}) == len(cases)


def test_the_folded_network_stands_beside_a_bundle_that_was_asked_for_alone() -> None:
    cases = list(make_cases(parse_methods("norm"), {}, backends=["onnx"], devices=["cpu", "cuda"]))
    assert [(c.work, c.device) for c in cases] == [
        (Work.FOLDED, "cpu"),
        (Work.PREDICT, "cpu"),
        (Work.OBSERVE, "cpu"),
    ]
    assert [Case.from_dict(json.loads(json.dumps(c.as_dict()))) for c in cases] == cases


def test_on_cuda_each_work_is_measured_by_itself() -> None:
    methods = parse_methods("source,norm,tent")
    cases = list(make_cases(methods, {}, devices=["cuda"], threads=[1]))
    assert [(c.label, c.work) for c in cases] == [
        ("source", Work.ADAPT),
        ("norm, predict", Work.PREDICT),
        ("norm, observe", Work.OBSERVE),
        ("tent, predict", Work.PREDICT),
        ("tent, observe", Work.OBSERVE),
        ("tent, learn", Work.LEARN),
    ]
    # The same works on the processor, to see that each does what it says.
    maker = Maker(MODEL, None)
    image = np.zeros((1, 3, 32, 32), np.float32)
    for one in cases[3:]:
        subject = maker.make(replace(one, device="cpu"))
        assert isinstance(subject, AdapterSubject)
        adapter = subject._adapter
        subject.frame(image)
        assert adapter.steps == (one.work is not Work.PREDICT)
        assert adapter.updates == (one.work is Work.LEARN)


def test_stages_are_not_listened_to_on_cuda() -> None:
    frames = itertools.repeat(np.zeros((8, 8, 3), np.uint8))
    for device, listens in (("cpu", True), ("cuda", False)):
        slow = Slow(0.0)
        slow._on_stage = lambda stage: None
        loaded = Loaded(case(), slow, InputSpec(size=8), frames)
        loaded.case = replace(loaded.case, device=device)
        timing = loaded.turn(1, 0)
        assert ("forward" in timing.stages) == listens


def test_stages_share_the_time_of_a_frame_out_and_warm_ups_are_not_counted() -> None:
    slow, frames = Slow(0.004), itertools.repeat(np.zeros((8, 8, 3), np.uint8))
    loaded = Loaded(case(), slow, InputSpec(size=8), frames)
    (timing,) = measure_latency([loaded.turn], n=7, warm_up=2, turns=3)
    assert slow.seen == 2 + 3 * SETTLING + 7
    assert len(timing.wall) == 7
    assert len(timing.medians) == 3
    row = latency_row(case(), "net", timing, budget_ms=1.0)
    assert timing.learned == 7 + 3 * SETTLING
    assert row["learned_per_s"] == pytest.approx(timing.learned / timing.seconds)
    assert row["misses"] == 7
    assert min(timing.stages["forward"]) >= 0.004
    total = sum(row["stages_s"][stage]["mean"] for stage in timing.stages)
    assert total == pytest.approx(row["latency_s"]["mean"], rel=0.05)
    assert row["latency_s"]["p50"] <= row["latency_s"]["p90"] <= row["latency_s"]["p99"]


def test_methods_that_train_run_with_each_number_of_parts_for_checkpointing() -> None:
    cases = make_cases(
        parse_methods("source,nanoadapt:tent"),
        parse_peers("tent-stock"),
        backends=["torch"],
        devices=["cpu"],
        threads=[1],
        saved=["float16"],
        checkpoint_activations=[0, "auto", 4],
    )
    assert [(c.label, c.checkpoint_activations) for c in cases] == [
        ("tent-stock", 0),
        ("source", 0),
        ("nanoadapt:tent", 0),
        ("nanoadapt:tent [checkpoint auto]", "auto"),
        ("nanoadapt:tent [checkpoint 4]", 4),
    ]


def test_unsteady_turns_and_a_missing_processor_are_said() -> None:
    steady = Timing(wall=[1.0] * 10, processor=[1.0] * 10, medians=[1.0, 1.02])
    assert instability(steady, case()) is None
    steady.medians.append(1.5)
    assert "differ by" in str(instability(steady, case()))
    waiting = Timing(wall=[1.0] * 10, processor=[0.5] * 10, medians=[1.0])
    assert "no processor for 50 %" in str(instability(waiting, case()))
    assert instability(waiting, case(threads=2)) is None


def test_drift_is_one_where_costs_are_flat_and_more_where_they_grow() -> None:
    assert drift(np.full(100, 0.1)) == 1
    assert drift(np.linspace(1, 2, 100)) == pytest.approx(1.9, abs=0.1)


def test_ratios_are_to_stock_tent_of_the_same_device_and_threads() -> None:
    def row(label: str, threads: int, seconds: float) -> dict[str, Any]:
        summary = {"p50": seconds}
        return {"label": label, "device": "cpu", "threads": threads, "latency_s": summary,
                "processor_s": summary}  # fmt: skip

    rows = [row("tent-stock", 1, 2.0), row("a", 1, 1.0), row("a", 2, 1.0)]
    ratios(rows)
    assert rows[1]["ratio_to_stock"] == {"wall": 0.5, "processor": 0.5}
    assert "ratio_to_stock" not in rows[2]


MODEL = {**dict.fromkeys(MODEL_OPTIONS), "model": "demo", "untrained": False}


def test_a_case_that_fails_in_its_process_says_why() -> None:
    with pytest.raises(MeasureError, match=r"there is no file nowhere\.py"):
        measure_memory(case(), {**MODEL, "model": "nowhere.py:net"}, frames=1)


def test_latency_command_writes_rows_and_a_report_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latency.json"
    words = "bench latency --model demo --methods source,nanoadapt:tent --frames 3 --warm-up 1"
    threads = ["--threads", str(torch.get_num_threads())]
    assert main([*words.split(), *threads, "--device", "cpu,cuda", "--json", str(out)]) == 0
    rows = read_results(out).rows
    assert [row["label"] for row in rows if row["device"] == "cpu"] == [
        "tent-stock",
        "source",
        "nanoadapt:tent",
    ]
    if not torch.cuda.is_available():
        assert "cuda is left out, not measured" in capsys.readouterr().err
    page = markdown(make_sections([read_results(out)]))
    assert "## Time" in page
    assert "| `nanoadapt:tent` |" in page


def test_a_damaged_row_is_refused() -> None:
    row = {"label": "x", "model": "m", "n": 1, "latency_s": {"p50": 1}, "processor_s": {}}
    with pytest.raises(ResultError, match="bench latency writes"):
        make_sections([Results("f.json", "", {}, {}, [row])])


def test_the_picture_to_decide_by_joins_error_time_and_memory_by_method() -> None:
    rows: list[dict[str, Any]] = [
        {"label": "a", "error": e, "corruption": c, "batch_size": 1, "order": "iid"}
        for c, e in (("fog", 0.2), ("snow", 0.4), ("clean", 0.0))
    ]
    rows.append({"label": "a [int8]", "asked": "a", "latency_s": {"p50": 0.5}})
    rows.append({"label": "a", "asked": "a", "above_import_bytes": 7, "saved_bytes": 1})
    (point,) = points_of(rows)
    assert (point.label, point.latency_s, point.memory_bytes) == ("a", 0.5, 7)
    assert point.error == pytest.approx(0.3)


def test_names_of_methods_that_are_alike_cover_neither_each_other_nor_the_points() -> None:
    pytest.importorskip("matplotlib")
    alike = [("source", 44.5, 3.1), ("source+filter", 44.0, 3.3), ("norm", 44.2, 3.6)]
    points = [Point(label, error / 100, ms / 1e3, 2**24) for label, error, ms in alike]
    figure = draw(points, "")
    (axes,) = figure.axes
    names = [text.get_window_extent() for text in axes.texts]
    assert len(names) == len(points)
    for name in names:
        assert name.count_overlaps([other for other in names if other is not name]) == 0
        for _, error, ms in alike:
            assert not name.contains(*axes.transData.transform((ms, error)))


def test_untrained_networks_have_statistics_that_fit_their_weights() -> None:
    model = untrained("torchvision:resnet18", 64).module
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    kept = [norm.running_var for norm in norms if norm.running_var is not None]
    assert min(float(variance.min()) for variance in kept) > 0
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        logits = model(torch.randn(4, 3, 64, 64, generator=generator))
    assert 1e-2 < float(logits.std()) < 1e2  # neither huge nor denormal
    with pytest.raises(ModelError, match="did you mean"):
        untrained("torchvision:resnet19")


def test_memory_of_a_fresh_process_says_how_each_figure_was_found_and_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "memory.json"
    words = "bench memory --model demo --methods nanoadapt:tent --peers tent-checkpoint --frames 2"
    assert main([*words.split(), "--json", str(out)]) == 0
    # The demo's parts cannot be told apart: that peer is left out, and the rest goes on.
    assert "left out: tent-checkpoint" in capsys.readouterr().err
    (row,) = json.loads(out.read_text())["results"]
    assert 0 < row["import_bytes"] < row["process_peak_bytes"]
    assert row["above_import_bytes"] == row["process_peak_bytes"] - row["import_bytes"]
    assert row["saved_bytes"] > 0
    assert set(row["how"]) == {name for name in row if name.endswith("_bytes")}
    told = dict(meanings([row]))
    assert told["above imports"] == "process peak less imports"
    assert not [text for text in told.values() if "_bytes" in text]
    assert "## Memory" in markdown(make_sections([read_results(out)]))


def test_a_guarded_method_runs_in_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def spied(self: Adapter, images: Any) -> Any:
        asked.append(len(images))
        return predict_source(self, images)

    predict_source = Adapter.predict_source
    monkeypatch.setattr(Adapter, "predict_source", spied)
    cases = make_cases(parse_methods("nanoadapt:norm,nanoadapt:norm+guard"), {}, threads=[1])
    image = np.zeros((1, 3, 64, 64), np.float32)
    for case in cases:
        assert case.head["guarded"] == case.guarded == case.label.endswith("+guard")
        Maker(MODEL, 1).make(case).frame(image)
        # The guard compares the first frame with the source network.
        assert bool(asked) == case.guarded


def test_graphs_of_a_bundle_do_as_much_as_their_case_says() -> None:
    spec = load_model("demo").input
    maker = OnnxMaker({"input": input_of(spec)}, 1)
    image = np.ones((1, 3, spec.size, spec.size), np.float32)
    changed: dict[Work, set[str]] = {}
    for work in (Work.PREDICT, Work.OBSERVE, Work.LEARN, Work.LEARN_IN_LITTLE, Work.BESIDE):
        subject = maker.make(case(peer=None, backend="onnx", work=work, place=str(DEMO_BUNDLE)))
        assert isinstance(subject, OnnxSubject)
        subject.frame(image)
        before = _state(subject)
        subject.frame(image)
        after = _state(subject)
        changed[work] = {name for name in after if (after[name] != before[name]).any()}
        assert subject.sizes(image)["weight_bytes"] > 1000
    assert changed[Work.PREDICT] == set()
    assert set() < changed[Work.OBSERVE] < changed[Work.LEARN]
    assert changed[Work.LEARN] == changed[Work.LEARN_IN_LITTLE] == changed[Work.BESIDE]


def test_bundles_are_filtered_and_guarded_as_their_label_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: Counter[str] = Counter()

    def spied(thing: type, name: str) -> None:
        plain = getattr(thing, name)

        def spy(self: Any, *words: Any, **named: Any) -> Any:
            seen[f"{thing.__name__}.{name}"] += 1
            return plain(self, *words, **named)

        monkeypatch.setattr(thing, name, spy)

    spied(Filtered, "update")
    spied(Guard, "__call__")
    methods = parse_methods("source+filter,nanoadapt:tent+filter,nanoadapt:tent+guard+filter")
    cases = list(make_cases(methods, {}, backends=["onnx"]))
    spec = InputSpec(size=12)
    image = np.ones((1, 3, 12, 12), np.float32)
    with with_bundles(cases, Model("net", network("residual"), spec)) as placed:
        for one in placed:
            seen.clear()
            subject = OnnxMaker({"input": input_of(spec)}, 1).make(one)
            subject.frame(image)
            subject.learned()
            guarded = "guard" in one.asked
            assert (one.head["filtered"], one.head["guarded"]) == (is_filtered(one.asked), guarded)
            asked = {"Filtered.update": int(is_filtered(one.asked)), "Guard.__call__": int(guarded)}
            assert +seen == +Counter(asked), one.label
            assert not (guarded and one.work.predicts)


def _state(subject: OnnxSubject) -> dict[str, Any]:
    subject.learned()  # waits for what goes on beside
    assert subject._adapter is not None
    return subject._adapter.state


def test_frames_come_at_a_rate_and_learning_beside_is_counted() -> None:
    spec = load_model("demo").input
    asked = case(peer=None, backend="onnx", work=Work.BESIDE, place=str(DEMO_BUNDLE))
    maker = OnnxMaker({"input": input_of(spec)}, 1)
    loaded = Loaded(asked, maker.make(asked), spec, frames_of(None))
    timing = loaded.turn(frames=6, uncounted=2, fps=40.0)
    assert timing.seconds >= 7 / 40
    assert len(timing.wall) == 6
    assert 1 <= timing.learned <= 8


def test_a_bundle_is_made_and_measured_beside_stock_tent_without_pytorch_in_its_process(
    tmp_path: Path,
) -> None:
    (tmp_path / "net.py").write_text(NET)
    words = ("--model", f"{tmp_path / 'net.py'}:make", "--methods", "norm", "--threads", 1)
    frames = ("--frames", 4, "--warm-up", 1, "--turns", 2)
    for kind, more in (("latency", frames), ("memory", ("--frames", 2))):
        out = tmp_path / f"{kind}.json"
        result = call("bench", kind, *words, *more, "--backend", "onnx", "--json", out)
        assert result.code == 0, result.err
        rows = {row["label"]: row for row in read_results(out).rows}
        assert list(rows) == ["tent-stock", "source, folded", "norm, predict", "norm, observe"]
        if kind == "latency":
            assert all(row["ratio_to_stock"]["wall"] > 0 for row in rows.values())
        else:
            ours, stock = rows["norm, observe"], rows["tent-stock"]
            assert ours["process_peak_bytes"] < stock["import_bytes"]
            assert all(row["start_s"] > 0 for row in rows.values())
        assert "`norm, observe`" in markdown(make_sections([read_results(out)]))


def test_runtimes_can_fold_the_batchnorms_of_the_folded_network() -> None:
    net = network("residual")
    cases = list(make_cases(parse_methods("source"), {}, backends=["onnx"]))
    with with_bundles(cases, Model("net", net, InputSpec(size=12))) as (folded,):
        nodes = onnx.load(Path(str(folded.place)) / FOLDED).graph.node
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert sum(node.op_type == "BatchNormalization" for node in nodes) == len(norms) > 0


def test_rows_of_the_former_bench_bundle_are_left_out() -> None:
    row = {"method": "bundle learn", "measure": "memory", "process_peak_bytes": 7}
    known = {"label": "a", "model": "m", "process_peak_bytes": 7, "how": {}}
    page = markdown(make_sections([Results("f.json", "", {}, {}, [row, known])]))
    assert "1 rows are of kinds not reported here" in page
