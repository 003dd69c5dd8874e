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

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

METHODS = ("source", "norm", "tent", "nanoadapt")
HOSTS = ("norm", "tent")
PRESETS = ("edge", "paper")

_CHOICES: dict[str, tuple[str, ...]] = {
    "method": METHODS,
    "host": HOSTS,
    "calibration": ("running", "anchored"),
    "initial": ("source", "first"),
    "adapt": ("affine", "affine+conv"),
    "taylor": ("none", "affine", "conv", "affine+conv"),
    "jacobian": ("history", "latest"),
    "gradient": ("constant", "calibrated", "proxy"),
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
        method: what runs; `source` changes nothing, `norm` uses each batch's statistics, `tent`
            adds entropy minimisation, `nanoadapt` wraps the host.
        host: the method that NanoAdapt wraps; it gives the loss L_o of Eq. 9.
        smoothing: m of Eq. 5, the weight on the old statistics, in [0, 1].
        prior_frames: short start. The smoothing of step t (from 0) is at most
            1 - 1 / (t + prior_frames + 1): the source statistics count as that many frames, and the
            first frames are averaged before the exponential forgetting begins. 0: none, as in the
            paper. Anchored, the recent statistics start with a quarter of it.
        calibration: `running` (the paper: Eq. 5), or `anchored` (`edge_tta.method.anchored`): two
            running statistics, believed only as far as chance cannot explain their distance from
            the source. The next three fields are for `anchored` alone.
        anchor: share of the frames' spread that is taken for chance, >= 0: 1 / anchor is how many
            independent frames the stream is trusted to hold at a time. 0 believes everything.
        lasting_smoothing: `smoothing` of the longer running statistics, in [0, 1].
        catch_up: how far the longer statistics follow the recent ones at each step where those
            are believed, in [0, 1].
        initial: statistics before the first frame (paper: silent): `source`, or `first`, the
            first batch's own.
        adapt: what trains: BatchNorm's `affine` parameters, or those and the convolution in front
            of each.
        taylor: which parameters' change moves the history (Eq. 8): the earlier BatchNorm's
            `affine` part, the `conv` weights in front (needs adapt = "affine+conv": frozen weights
            do not move), both, or `none` (Eq. 5).
        jacobian: `history` keeps the running Jacobians of Eq. 8; `latest` takes one directional
            derivative on the newest frame after each update and stores nothing.
        gradient: through the statistics `constant` (not at all), `calibrated` (as Eq. 5 blends
            them: 1 - m of the batch's), or `proxy` (Eq. 12: forward with the calibrated ones,
            backward as through the batch's own).
        accumulation: S of Eq. 9, frames from one optimizer step to the next (paper: not given).
        weighting: `ewga` (Eq. 9: position ramp r and min(1/H, 1)) or `mean`.
        views: k, extra views of each frame in a learning step, each by another of five
            augmentations, 0 to 5.
        loss_over: the loss averages over all `views` or the `frame` alone (paper: silent).
        statistics_over: the batch statistics are of all `views` or the `frame` alone.
        predict: the logits returned are from `before` the step's update, or `after` (costs a
            second forward pass on frames that update). Paper: silent.
        optimizer: `adam` (betas 0.9, 0.999, eps 1e-8) or `sgd` (momentum 0.9).
        learning_rate: step size of the optimizer, > 0.
        seed: of the random views.
    """

    method: str = "nanoadapt"
    host: str = "tent"
    smoothing: float = 0.98
    prior_frames: float = 0.0
    calibration: str = "running"
    anchor: float = 0.7
    lasting_smoothing: float = 0.998
    catch_up: float = 0.5
    initial: str = "source"
    adapt: str = "affine"
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
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        _check_number("smoothing", self.smoothing, 0.0, 1.0)
        _check_number("prior_frames", self.prior_frames, 0.0, math.inf)
        _check_number("anchor", self.anchor, 0.0, math.inf)
        _check_number("lasting_smoothing", self.lasting_smoothing, 0.0, 1.0)
        _check_number("catch_up", self.catch_up, 0.0, 1.0)
        _check_number("learning_rate", self.learning_rate, 0.0, math.inf)
        _check_number("accumulation", self.accumulation, 1, 1_000_000, whole=True)
        _check_number("views", self.views, 0, 5, whole=True)
        _check_number("seed", self.seed, 0, 2**63 - 1, whole=True)
        if "conv" in self.taylor and self.adapt != "affine+conv":
            raise ConfigError(
                f"taylor = {self.taylor!r} needs adapt = 'affine+conv': frozen convolutions do "
                "not move, so their Taylor term is zero; set adapt, or taylor = 'affine'"
            )

    @property
    def trains(self) -> bool:
        """Whether parameters change at all (not only statistics)."""
        return self.method == "tent" or (self.method == "nanoadapt" and self.host != "norm")

    @property
    def label(self) -> str:
        """`method`, or `nanoadapt:host`."""
        return f"{self.method}:{self.host}" if self.method == "nanoadapt" else self.method

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, for files."""
        return dataclasses.asdict(self)


# What makes each baseline what it is, whatever the preset says. Tent's published learning rate is
# for batches of 200; at N = 1 it is usually scaled by N / 64.
_BASELINES: dict[str, dict[str, Any]] = {
    "source": {"smoothing": 1.0, "views": 0, "taylor": "none"},
    "norm": {"smoothing": 0.0, "views": 0, "taylor": "none"},
    "tent": {
        "smoothing": 0.0,
        "views": 0,
        "taylor": "none",
        "gradient": "calibrated",
        "accumulation": 1,
        "weighting": "mean",
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "adapt": "affine",
    },
}


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
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the preset {path}: {error}") from error
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
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
