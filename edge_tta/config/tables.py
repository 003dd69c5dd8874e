"""The tables of a configuration: one dataclass each, checked when made.

Where the NanoAdapt paper is silent, the choice is a field here and its meaning is said beside it.
Units: frames and steps are counts, rates are per step. On the command line and in Python a field is
given by its own name (`learning_rate`), and a table's `kind` or `count` by the table's
(`calibration`, `views`); in a TOML file it stands in its table.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from edge_tta.config.checks import check_choice, check_number, check_share_or_whole, check_whole
from edge_tta.errors import ConfigError


@dataclass(frozen=True)
class CalibrationConfig:
    """Calibration of the statistics (`edge_tta.method.calibration`).

    Attributes:
        kind: `running` (the paper: Eq. 5), `anchored` (two running statistics, each shrunk towards
            the source as far as chance explains their distance from it), `mixed` (alpha-BN: 1 -
            alpha of the source's and alpha of the batch's, of means and of variances, without
            memory), `renormalised` (DELTA's TBR: running means and standard deviations, used before
            they are updated with the batch), `framewise` (the stream's and each frame's own, in
            layers of fine resolution), or `source` (the source's).
        smoothing: m of Eq. 5, the weight on the old statistics, in [0, 1].
        prior_frames: short start. The smoothing of step t (from 0) is at most
            1 - 1 / (t + prior_frames + 1): the source statistics count as that many frames, and the
            first frames are averaged before the exponential forgetting begins. 0: none, as in the
            paper. Anchored, the recent statistics start with a quarter of it.
        initial: statistics before the first frame (paper: silent): `source`, or `first`, the first
            batch's own.
        alpha: share of the batch in `mixed`, in [0, 1]; in `framewise` that of the frame
            in the means, the rest being the stream's; 0 there: the statistics are those before it.
        anchor: how much of the frames' spread the lasting statistics hold by chance where the
            stream has shown one class only, >= 0; the more various its classes, the less. 0: none.
            This and the following up to tracking_rate are for `anchored` alone.
        recent_anchor: the same for the recent statistics, against the lasting ones, >= 0.
        dead_zone: share of the spread that proves no change, however many frames it is of, >= 0.
        lasting_smoothing: `smoothing` of the lasting statistics, in [0, 1].
        tracking_rate: how far the lasting statistics follow the recent ones at each step where
            those are not shrunk, in [0, 1].
        strength: `framewise`: share of the way from the source to the stream, in [0, 1].
        coarsest: `framewise`: layers whose map has less than one of so many of the image's
            positions stay the source's, >= 1.
        gradient: through the statistics `constant` (not at all), `calibrated` (as Eq. 5 blends
            them: 1 - m of the batch's), `proxy` (Eq. 12: forward with the calibrated ones,
            backward as through the batch's own), or `renormalised` (DELTA's TBR: the same, the
            backward pass at the batch's own).
        taylor: which parameters' change shifts the statistics (Eq. 8): the earlier BatchNorm's
            `affine` part, the `conv` weights in front (needs train = "affine+conv": else they do
            not change), both, or `none` (Eq. 5).
        jacobian: `history` keeps the running Jacobians of Eq. 8; `latest` takes one directional
            derivative on the newest frame after each update and stores nothing.
    """

    kind: str = "running"
    smoothing: float = 0.98
    prior_frames: float = 0.0
    initial: str = "source"
    alpha: float = 0.1
    anchor: float = 2.0
    recent_anchor: float = 3.0
    dead_zone: float = 0.15
    lasting_smoothing: float = 0.998
    tracking_rate: float = 0.5
    strength: float = 1.0
    coarsest: float = 64.0
    gradient: str = "constant"
    taylor: str = "none"
    jacobian: str = "history"

    def __post_init__(self) -> None:
        kinds = ("running", "anchored", "mixed", "renormalised", "framewise", "source")
        check_choice("calibration", self.kind, kinds)
        check_choice("initial", self.initial, ("source", "first"))
        gradients = ("constant", "calibrated", "proxy", "renormalised")
        check_choice("gradient", self.gradient, gradients)
        check_choice("taylor", self.taylor, ("none", "affine", "conv", "affine+conv"))
        check_choice("jacobian", self.jacobian, ("history", "latest"))
        shares = ("smoothing", "alpha", "lasting_smoothing", "tracking_rate", "strength")
        for name in shares:
            check_number(name, getattr(self, name), 0.0, 1.0)
        for name in ("prior_frames", "anchor", "recent_anchor", "dead_zone"):
            check_number(name, getattr(self, name), 0.0, math.inf)
        check_number("coarsest", self.coarsest, 1.0, math.inf)
        if self.kind in ("mixed", "framewise", "source") and self.taylor != "none":
            raise ConfigError(
                f"taylor = {self.taylor!r} shifts running statistics, and calibration = "
                f"{self.kind!r} keeps none of these; set taylor = 'none'"
            )
        if self.initial == "first" and self.kind in ("anchored", "framewise"):
            raise ConfigError(
                "initial = 'first' begins with the first frame's statistics, and calibration = "
                f"{self.kind!r} with the source's; set initial = 'source'"
            )


@dataclass(frozen=True)
class LossConfig:
    """Weights and terms added to the host's loss (`edge_tta.method.loss`).

    Attributes:
        weighting: `ewga` (Eq. 9: position ramp r and min(1/H, 1)) or `mean`.
        diversity: weight of a term in the loss of every image that pushes its prediction away from
            classes that are more frequent than usual (`edge_tta.method.calibration.class_balance`),
            >= 0; `anchored` only.
        reliable_below: NanoAdapt learns only from images whose entropy is below this share of ln C
            (C classes, more than 32 counted as 32), whatever the host, >= 0; 0: from all.
        fisher_weight: eata's beta, of the regulariser that keeps parameters near the source, >= 0;
            published: 2000 for ImageNet, 1 for CIFAR-10. Above 0 `Adapter.estimate_fisher` must be
            called first. 0: no regulariser.
    """

    weighting: str = "ewga"
    diversity: float = 0.0
    reliable_below: float = 0.0
    fisher_weight: float = 0.0

    def __post_init__(self) -> None:
        check_choice("weighting", self.weighting, ("ewga", "mean"))
        for name in ("diversity", "reliable_below", "fisher_weight"):
            check_number(name, getattr(self, name), 0.0, math.inf)


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer of the trained parameters (`edge_tta.method.optimizer`).

    Attributes:
        kind: `adam` (betas 0.9, 0.999, eps 1e-8) or `sgd` (momentum 0.9).
        learning_rate: step size, >= 0.
        reference_batch: the frames N_0 in a batch that `learning_rate` is meant for: a batch of N
            takes min(1, N / N_0) of it. 0: the learning rate as it stands.
        accumulation: S of Eq. 9, frames from one optimizer step to the next (paper: not given).
        forgetting: at each step the parameters go back by this share of their way from the
            source's, 0 to 1, and by less where the step is shortened (`reliable_below`); 0: never.
    """

    kind: str = "adam"
    learning_rate: float = 1e-3
    reference_batch: int = 0
    accumulation: int = 16
    forgetting: float = 0.0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.kind, ("adam", "sgd"))
        check_number("learning_rate", self.learning_rate, 0.0, math.inf)
        check_whole("reference_batch", self.reference_batch, 0, 1_000_000)
        check_whole("accumulation", self.accumulation, 1, 1_000_000)
        check_number("forgetting", self.forgetting, 0.0, 1.0)


@dataclass(frozen=True)
class LayersConfig:
    """Layers that adapt.

    Attributes:
        train: BatchNorm's `affine` parameters, or those and the convolution in front of each
            (`affine+conv`).
        depth: the last so many BatchNorm layers train, or below 1 that share of them, and nothing
            below them is saved for the backward pass; 0: all. The statistics of all are calibrated.
            Where a network has no BatchNorm, so that learning is all, a share means all.
        adapt_from: name of the BatchNorm layer from which on, in the network's order, the network
            adapts. What comes before stays as trained, its BatchNorms folded into the convolutions
            in front of them, and the backward pass ends there. "": the first.
        calibrate_below: the layers before `adapt_from` are not folded: their statistics are
            calibrated, and their parameters alone stay.
    """

    train: str = "affine"
    depth: float = 0
    adapt_from: str = ""
    calibrate_below: bool = False

    def __post_init__(self) -> None:
        check_choice("train", self.train, ("affine", "affine+conv"))
        check_share_or_whole("depth", self.depth, 1_000_000)
        if not isinstance(self.adapt_from, str):
            raise ConfigError(f"adapt_from must be a layer's name, got {self.adapt_from!r}")
        if not isinstance(self.calibrate_below, bool):
            raise ConfigError(
                f"calibrate_below must be true or false, got {self.calibrate_below!r}"
            )
        if self.calibrate_below and not self.adapt_from:
            raise ConfigError(
                "calibrate_below is about the layers below adapt_from, which is not given; give "
                "it, or leave calibrate_below out"
            )

    def trained(self, layers: int) -> int:
        """Return how many of so many layers train, by the depth alone."""
        if self.depth >= 1:
            return min(int(self.depth), layers)
        return math.ceil(round(self.depth * layers, 6))


@dataclass(frozen=True)
class ViewsConfig:
    """Augmented views of a frame that learns (`edge_tta.views`).

    Attributes:
        count: k, extra views of each frame in a learning step, each by another of five
            augmentations, 0 to 5. Loss and batch statistics are over the frame and its views.
        seed: of the random views.
    """

    count: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("views", self.count, 0, 5)
        check_whole("seed", self.seed, 0, 2**63 - 1)


@dataclass(frozen=True)
class MethodConfig:
    """One adaptation method, completely; made by `make_config`.

    Attributes:
        method: what runs, one of `edge_tta.config.METHODS`. `source` changes nothing, `norm` uses
            each batch's statistics, `alpha-bn` mixes them with the source's; `tent`, `eata`, `sar`
            and `delta` also train, each by its loss (`edge_tta.method.hosts`); `nanoadapt` wraps
            the host.
        host: the method that NanoAdapt wraps; it gives the loss L_o of Eq. 9. `norm`: none.
    """

    method: str = "nanoadapt"
    host: str = "tent"
    calibration: CalibrationConfig = CalibrationConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    layers: LayersConfig = LayersConfig()
    views: ViewsConfig = ViewsConfig()

    def __post_init__(self) -> None:
        taylor = self.calibration.taylor
        if "conv" in taylor and self.layers.train != "affine+conv":
            raise ConfigError(
                f"taylor = {taylor!r} needs train = 'affine+conv': else convolutions do "
                "not change, so their Taylor term is zero; set train, or taylor = 'affine'"
            )
        if self.loss.diversity and self.calibration.kind != "anchored":
            raise ConfigError(
                f"diversity = {self.loss.diversity:g} needs what calibration = 'anchored' keeps; "
                "set diversity = 0, or calibration = 'anchored'"
            )
        if self.loss.fisher_weight > 0 and self.host != "eata":
            raise ConfigError(
                f"fisher_weight = {self.loss.fisher_weight:g} is eata's; set it to 0, or host to "
                "eata"
            )

    @property
    def trains(self) -> bool:
        """Return True where parameters change, not only statistics."""
        return self.host != "norm"

    @property
    def folded_below(self) -> str:
        """The layer before which BatchNorms are folded and do not adapt at all; "": none are."""
        return "" if self.layers.calibrate_below else self.layers.adapt_from

    @property
    def label(self) -> str:
        """`method`, or `nanoadapt:host`."""
        return f"{self.method}:{self.host}" if self.method == "nanoadapt" else self.method

    def as_dict(self) -> dict[str, Any]:
        """Return the tables as plain values, for files."""
        return dataclasses.asdict(self)
