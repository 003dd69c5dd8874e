"""Methods and presets: every choice of an adaptation run as one flat, checked record.

A preset is a TOML file of the fields of `MethodConfig`; `paper` and `edge` come with the package.
Where the NanoAdapt paper is silent, the choice is a field here and its meaning is said beside it.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edge_tta.errors import ConfigError
from edge_tta.small_files import read_small

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

METHODS = ("source", "norm", "alpha-bn", "tent", "eata", "sar", "delta", "nanoadapt")
HOSTS = ("norm", "tent", "eata", "sar", "delta")
_MOST_PRESET_BYTES = 1 << 16
PRESETS = ("edge", "paper")
SAVED = ("stock", "float32", "float16", "int8")
"""What may wait for the backward pass, see `edge_tta.Adapter`."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "method": METHODS,
    "host": HOSTS,
    "calibration": ("running", "anchored", "mixed", "renormalised"),
    "initial": ("source", "first"),
    "adapt": ("affine", "affine+conv"),
    "taylor": ("none", "affine", "conv", "affine+conv"),
    "jacobian": ("history", "latest"),
    "gradient": ("constant", "calibrated", "proxy", "renormalised"),
    "weighting": ("ewga", "mean"),
    "loss_over": ("views", "frame"),
    "statistics_over": ("views", "frame"),
    "predict": ("before", "after"),
    "optimizer": ("adam", "sgd"),
}


@dataclass(frozen=True)
class MethodConfig:
    """One adaptation method, completely. Units: frames and steps are counts, rates are per step.

    Attributes:
        method: what runs; `source` changes nothing, `norm` uses each batch's statistics,
            `alpha-bn` mixes them with the source's; `tent`, `eata`, `sar` and `delta` also train,
            each by its loss (`edge_tta.method.hosts`); `nanoadapt` wraps the host.
        host: the method that NanoAdapt wraps; it gives the loss L_o of Eq. 9.
        smoothing: m of Eq. 5, the weight on the old statistics, in [0, 1].
        prior_frames: short start. The smoothing of step t (from 0) is at most
            1 - 1 / (t + prior_frames + 1): the source statistics count as that many frames, and the
            first frames are averaged before the exponential forgetting begins. 0: none, as in the
            paper. Anchored, the recent statistics start with a quarter of it.
        calibration: `running` (the paper: Eq. 5), `anchored` (`edge_tta.method.anchored`: two
            running statistics, believed only as far as chance cannot explain their distance from
            the source), `mixed` (alpha-BN: 1 - alpha of the source's and alpha of the batch's, of
            means and of variances, without memory), or `renormalised` (DELTA's TBR: running means
            and standard deviations, used before they take up the batch). The following fields up
            to diversity are for `anchored` alone.
        anchor: how much of the frames' spread the lasting statistics hold by chance where the
            stream has shown one class only, >= 0; the more various, the less
            (`edge_tta.method.content`). 0 believes everything.
        recent_anchor: the same for the recent statistics, against the lasting ones, >= 0.
        mismatch: share of the spread that proves no change, however many frames it is of, >= 0.
        lasting_smoothing: `smoothing` of the longer running statistics, in [0, 1].
        catch_up: how far the longer statistics follow the recent ones at each step where those
            are believed, in [0, 1].
        diversity: weight of a term in the loss of every image, the mean of ln f under its
            prediction, f the running frequency of classes, that asks for the rarer ones, >= 0;
            `anchored` only. With an entropy as the host's loss, 1 is information maximisation.
        reliable: NanoAdapt learns only from images whose entropy is below this share of ln C (C
            classes), whatever the host, >= 0; 0: from all.
        alpha: share of the batch in `mixed`, in [0, 1].
        initial: statistics before the first frame (paper: silent): `source`, or `first`, the
            first batch's own.
        adapt: what trains: BatchNorm's `affine` parameters, or those and the convolution in front
            of each.
        depth: the last so many BatchNorm layers train, and nothing below them is kept for the
            backward pass; 0: all. The statistics of all are calibrated.
        adapt_from: name of the BatchNorm layer from which on, in the network's order, the network
            adapts. What comes before stays as it came, its BatchNorms folded into the convolutions
            in front of them, and the backward pass ends there. "": the first.
        calibrate_below: the layers before `adapt_from` are not folded: their statistics are
            calibrated, and their parameters alone stay.
        taylor: which parameters' change moves the history (Eq. 8): the earlier BatchNorm's
            `affine` part, the `conv` weights in front (needs adapt = "affine+conv": frozen weights
            do not move), both, or `none` (Eq. 5).
        jacobian: `history` keeps the running Jacobians of Eq. 8; `latest` takes one directional
            derivative on the newest frame after each update and stores nothing.
        gradient: through the statistics `constant` (not at all), `calibrated` (as Eq. 5 blends
            them: 1 - m of the batch's), `proxy` (Eq. 12: forward with the calibrated ones,
            backward as through the batch's own), or `renormalised` (DELTA's TBR: the same, the
            backward pass at the batch's own).
        accumulation: S of Eq. 9, frames from one optimizer step to the next (paper: not given).
        weighting: `ewga` (Eq. 9: position ramp r and min(1/H, 1)) or `mean`.
        views: k, extra views of each frame in a learning step, each by another of five
            augmentations, 0 to 5.
        loss_over: the loss averages over all `views` or the `frame` alone (paper: silent).
        statistics_over: the batch statistics are of all `views` or the `frame` alone.
        predict: the logits returned are from `before` the step's update, or `after` (costs a
            second forward pass on frames that update). Paper: silent.
        optimizer: `adam` (betas 0.9, 0.999, eps 1e-8) or `sgd` (momentum 0.9).
        learning_rate: step size of the optimizer, >= 0.
        reference_batch: the frames N_0 in a batch that `learning_rate` is meant for: a batch of N
            takes min(1, N / N_0) of it. 0: the learning rate as it stands.
        entropy_margin: eata and sar leave out images whose entropy is this share of ln C or more
            (C classes), >= 0.
        similarity_margin: eata leaves out images whose prediction has a cosine of this or more with
            the running mean prediction, in [0, 1]. 0: by the number of classes, as published: 0.4
            for 10, 0.1 for 100, 0.05 for 1000 (`edge_tta.method.hosts.eata.similarity_margin`).
        fisher_weight: eata's beta, of the regulariser that keeps parameters near the source, >= 0;
            published: 2000 for ImageNet, 1 for CIFAR-10. Above 0 `Adapter.estimate_fisher` must be
            called first. 0: no regulariser.
        ascent_radius: sar's, of the sharpness ascent, >= 0.
        recovery: sar goes back to the source when the running loss is below this, nats, >= 0.
        seed: of the random views.
    """

    method: str = "nanoadapt"
    host: str = "tent"
    smoothing: float = 0.98
    prior_frames: float = 0.0
    calibration: str = "running"
    anchor: float = 2.0
    recent_anchor: float = 3.0
    mismatch: float = 0.15
    lasting_smoothing: float = 0.998
    catch_up: float = 0.5
    diversity: float = 0.0
    reliable: float = 0.0
    alpha: float = 0.1
    initial: str = "source"
    adapt: str = "affine"
    depth: int = 0
    adapt_from: str = ""
    calibrate_below: bool = False
    taylor: str = "none"
    jacobian: str = "history"
    gradient: str = "constant"
    accumulation: int = 16
    weighting: str = "ewga"
    views: int = 0
    loss_over: str = "views"
    statistics_over: str = "views"
    predict: str = "before"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    reference_batch: int = 0
    entropy_margin: float = 0.4
    similarity_margin: float = 0.0
    fisher_weight: float = 0.0
    ascent_radius: float = 0.05
    recovery: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        _check_number("smoothing", self.smoothing, 0.0, 1.0)
        _check_number("prior_frames", self.prior_frames, 0.0, math.inf)
        for name in ("anchor", "recent_anchor", "mismatch", "diversity", "reliable"):
            _check_number(name, getattr(self, name), 0.0, math.inf)
        _check_number("lasting_smoothing", self.lasting_smoothing, 0.0, 1.0)
        _check_number("catch_up", self.catch_up, 0.0, 1.0)
        _check_number("learning_rate", self.learning_rate, 0.0, math.inf)
        _check_number("alpha", self.alpha, 0.0, 1.0)
        _check_number("entropy_margin", self.entropy_margin, 0.0, math.inf)
        _check_number("similarity_margin", self.similarity_margin, 0.0, 1.0)
        _check_number("fisher_weight", self.fisher_weight, 0.0, math.inf)
        _check_number("ascent_radius", self.ascent_radius, 0.0, math.inf)
        _check_number("recovery", self.recovery, 0.0, math.inf)
        _check_number("reference_batch", self.reference_batch, 0, 1_000_000, whole=True)
        _check_number("accumulation", self.accumulation, 1, 1_000_000, whole=True)
        _check_number("views", self.views, 0, 5, whole=True)
        _check_number("depth", self.depth, 0, 1_000_000, whole=True)
        _check_number("seed", self.seed, 0, 2**63 - 1, whole=True)
        if not isinstance(self.calibrate_below, bool):
            raise ConfigError(
                f"calibrate_below must be true or false, got {self.calibrate_below!r}"
            )
        if self.calibrate_below and not self.adapt_from:
            raise ConfigError(
                "calibrate_below is about the layers below adapt_from, which is not given; give "
                "it, or leave calibrate_below out"
            )
        if "conv" in self.taylor and self.adapt != "affine+conv":
            raise ConfigError(
                f"taylor = {self.taylor!r} needs adapt = 'affine+conv': frozen convolutions do "
                "not move, so their Taylor term is zero; set adapt, or taylor = 'affine'"
            )
        if self.calibration == "mixed" and self.taylor != "none":
            raise ConfigError(
                f"taylor = {self.taylor!r} moves running statistics, and calibration = 'mixed' "
                "keeps none; set taylor = 'none'"
            )
        if self.diversity and self.calibration != "anchored":
            raise ConfigError(
                f"diversity = {self.diversity:g} needs what calibration = 'anchored' keeps; set "
                "diversity = 0, or that"
            )
        if self.initial == "first" and self.calibration == "anchored":
            raise ConfigError(
                "initial = 'first' begins with the first frame's statistics, and calibration = "
                "'anchored' with the source's; set initial = 'source'"
            )
        if self.fisher_weight > 0 and self.host != "eata":
            raise ConfigError(
                f"fisher_weight = {self.fisher_weight:g} is eata's; set it to 0, or host to eata"
            )

    @property
    def trains(self) -> bool:
        """Whether parameters change at all (not only statistics)."""
        if self.method == "nanoadapt":
            return self.host != "norm"
        return self.method in HOSTS and self.method != "norm"

    @property
    def folded_below(self) -> str:
        """The layer before which BatchNorms are folded and do not adapt at all; "": none are."""
        return "" if self.calibrate_below else self.adapt_from

    @property
    def label(self) -> str:
        """`method`, or `nanoadapt:host`."""
        return f"{self.method}:{self.host}" if self.method == "nanoadapt" else self.method

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, for files."""
        return dataclasses.asdict(self)


# Each batch's own statistics, and the gradient through them; a step a batch.
_BY_BATCH: dict[str, Any] = {
    "smoothing": 0.0,
    "views": 0,
    "taylor": "none",
    "gradient": "calibrated",
    "accumulation": 1,
    "weighting": "mean",
    "adapt": "affine",
}
_SGD: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 2.5e-4}

# What makes each baseline what it is, whatever the preset says. Learning rates are as published:
# tent's for CIFAR, the others' for ImageNet (eata's for CIFAR-10 is 5e-3).
_BASELINES: dict[str, dict[str, Any]] = {
    "source": {"smoothing": 1.0, "views": 0, "taylor": "none"},
    "norm": {"smoothing": 0.0, "views": 0, "taylor": "none"},
    "alpha-bn": {"calibration": "mixed", "smoothing": 0.0, "views": 0, "taylor": "none"},
    "tent": {**_BY_BATCH, "optimizer": "adam", "learning_rate": 1e-3},
    "eata": {**_BY_BATCH, **_SGD},
    "sar": {**_BY_BATCH, **_SGD},
    "delta": {
        **_BY_BATCH,
        **_SGD,
        "calibration": "renormalised",
        "gradient": "renormalised",
        "smoothing": 0.95,
        "initial": "first",
    },
}

REFERENCE_BATCHES = {"tent": 200, "eata": 64, "sar": 16, "delta": 64}
"""Frames in a batch that each baseline's published learning rate is for.

sar's is published for 64 too, but its authors take 1 / 16 of it at N = 1 (ResNets), not 1 / 64.
"""


def make_config(
    method: str = "nanoadapt",
    host: str = "tent",
    preset: str | Path = "edge",
    **overrides: Any,
) -> MethodConfig:
    """The configuration of a method: the baseline's own, or NanoAdapt's from a preset.

    Args:
        method: one of METHODS, or "nanoadapt:HOST".
        host: one of HOSTS; what NanoAdapt wraps.
        preset: `edge`, `paper`, or the path of a TOML file with fields of `MethodConfig`.
        overrides: single fields that win over the preset; None is left out.

    Raises:
        ConfigError: an unknown method, host, preset or field, or a value out of range.
    """
    if ":" in method:
        method, host = method.split(":", 1)
    if method not in METHODS:
        raise ConfigError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    overrides = {name: value for name, value in overrides.items() if value is not None}
    if method == "nanoadapt":
        fields = load_preset(preset)
    else:
        fields = dict(_BASELINES[method])
        host = method if method in HOSTS else "norm"
    if host == "norm":
        # No gradient flows, so nothing moves the history and views have nothing to carry.
        fields = {**fields, "views": 0, "taylor": "none"}
    fields = {**fields, **overrides, "method": method, "host": host}
    _check_names(fields, "option")
    return MethodConfig(**fields)


def load_preset(preset: str | Path) -> dict[str, Any]:
    """Fields of a named preset or of a TOML file.

    Raises:
        ConfigError: no such preset, not TOML, or an unknown field.
    """
    if str(preset) in PRESETS:
        text = (resources.files("edge_tta") / "presets" / f"{preset}.toml").read_text("utf-8")
    else:
        path = Path(preset)
        if path.suffix != ".toml":
            raise ConfigError(
                f"unknown preset {str(preset)!r}; expected {', '.join(PRESETS)} or a .toml file"
            )
        try:
            text = read_small(path, _MOST_PRESET_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the preset {path}: {error}") from error
    try:
        fields = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the preset {preset} is not valid TOML: {error}") from error
    _check_names(fields, f"field in {preset}")
    return fields


def _check_names(fields: Mapping[str, Any], what: str) -> None:
    known = {field.name for field in dataclasses.fields(MethodConfig)}
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(known))}"
            raise ConfigError(f"unknown {what}: {name}{hint}")


def _check_number(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> None:
    kind = int if whole else (int, float)
    right_kind = isinstance(value, kind) and not isinstance(value, bool)
    if not right_kind or not low <= value <= high or (math.isinf(value)):
        what = "a whole number" if whole else "a number"
        upper = "any" if math.isinf(high) else high
        raise ConfigError(f"{name} must be {what} from {low:g} to {upper}, got {value!r}")
