"""The adaptation step: one pure function from images and state to logits and new state.

    step.observe(images, state) -> (logits, new_state)      forward and calibration
    step.learn(images, state)   -> (logits, new_state)      also backward, accumulation, optimizer

`images` is (N * V, channels, H, W): N frames, V views of each, the views of a frame together and
the frame itself first. Logits are of the N frames. Nothing else is read or changed: reset, save,
resume and roll back are all "take the state". Branches on data are arithmetic (`torch.where`), so
that a trace of the step is the whole algorithm.

Several independent streams of one network run as one batch, which the frozen layers share: images
are (streams * N * V, ...), the streams one after another, and every tensor of the state has a
stream axis in front. The results are those of the streams run one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.errors import ModelError
from edge_tta.method import accumulation, content, gradient, hosts, moments, taylor
from edge_tta.method.anchored import MOST_TOGETHER, Anchor, Memories
from edge_tta.method.content import Content
from edge_tta.method.hosts.judging import mean_of_kept
from edge_tta.method.hosts.sar import ascent
from edge_tta.method.state import (
    Layout,
    State,
    initial_state,
    layer_layout,
    parameter_layout,
)
from edge_tta.method.terms import Term, site_terms
from edge_tta.method.updating import recovered, updated
from edge_tta.network.kernels import Kernels, Normalisation
from edge_tta.network.program import (
    BatchNorm,
    Execution,
    Program,
    Site,
    Statistics,
    Watched,
)


class Step:
    """The step of one method on one program. Holds no state.

    program: captured with `config.folded_below`.
    streams: number of streams in a batch; None: one, without a stream axis in the state.

    Raises ModelError when nothing of the network can be trained, or these streams not together.
    """

    def __init__(self, program: Program, config: MethodConfig, streams: int | None = None) -> None:
        assert program.below == config.folded_below
        self.program, self.config, self.streams = program, config, streams
        # Told the name of each stage that has ended: prepare, forward, backward, update.
        self.on_stage: Callable[[str], None] = _nobody
        self.layers: Layout = layer_layout(program)
        self.parameters: Layout = parameter_layout(program, config)
        if config.trains and not self.parameters.names:
            raise ModelError(
                "no BatchNorm of the model has affine parameters, so there is nothing to train; "
                "use --host norm, which only calibrates"
            )
        if streams is not None and not foldable(config):
            raise ModelError(
                "streams share a batch only where the convolutions are frozen and nothing is "
                "shifted: adapt = 'affine' and taylor = 'none'"
            )
        trained = set(self.parameters.names)
        self.terms: list[list[Term]] = [
            site_terms(site, program, config, trained) for site in program.sites
        ]
        self.anchor = Anchor(program.layers, config) if config.calibration == "anchored" else None
        self.uses = {
            layer.name: sum(site.layer is layer for site in program.sites)
            for layer in program.layers
        }

    def initial_state(self) -> State:
        """The state before the first frame."""
        return initial_state(self.program, self.config, self.streams)

    def observe(
        self, images: Tensor, state: State, *, views: int = 1, moved: bool | None = None
    ) -> tuple[Tensor, State]:
        """Forward pass and calibration (Eq. 5, or Eq. 8 after an update).

        Args:
            views: V of `images`, >= 1.
            moved: whether the last step changed the parameters; None: looked up in the state.

        Returns:
            Logits (N, classes), and the new state; the given one is not changed.

        With anchored calibration more than MOST_TOGETHER frames take several steps (`steps_of`), as
        in `learn`.
        """
        if self.steps_of(len(images), views) > 1:
            return self._in_turns(self.observe, images, state, views, moved)
        self.on_stage("prepare")
        with torch.no_grad():
            frames = self._frames(len(images), views)
            forward = Pass(self, state, self._values(state), views, moved, frames=frames)
            logits = forward.run(images)
            self.on_stage("forward")
            new = {**state, **forward.new_state(logits), "steps": state["steps"] + 1}
            if "change" in state:
                new["change"] = torch.zeros_like(state["change"])
            self.on_stage("update")
            return logits[::views], new

    def learn(
        self, images: Tensor, state: State, *, views: int = 1, moved: bool | None = None
    ) -> tuple[Tensor, State]:
        """`observe`, then the gradient of the host's loss into the accumulator (Eq. 9), and the
        optimizer's step when S are together. A gradient that is not finite counts as zero; where
        the host left out every image of the S steps, nothing is stepped.
        """
        config = self.config
        if not config.trains:
            return self.observe(images, state, views=views, moved=moved)
        if self.steps_of(len(images), views) > 1:
            return self._in_turns(self.learn, images, state, views, moved)
        vector = state["parameters"].detach()
        with torch.enable_grad():
            at = vector.requires_grad_()
            forward = Pass(
                self, state, self.parameters.split(at), views, moved,
                learns=True, frames=self._frames(len(images), views),
            )  # fmt: skip
            found = self._learned(forward, images, at, state, views, moved)
        with torch.no_grad():
            frames = len(images) // views
            host = hosts.BY_NAME[config.host]
            source = self.source_parameters()
            new = {
                **state,
                **forward.new_state(found.logits),
                **finite_or_old(found.memory, state),
                **updated(
                    state, found.news, found.kept, source, frames // (self.streams or 1), config
                ),
                "steps": state["steps"] + 1,
            }
            if host.recovers is not None:
                new |= recovered(new, source, host.recovers, config)
            shown = found.logits[::views]
            if config.predict == "after":
                shown = self.frozen_logits(images[::views], new)
            self.on_stage("update")
            return shown, new

    def _learned(
        self,
        forward: Pass,
        images: Tensor,
        at: Tensor,
        state: State,
        views: int,
        moved: bool | None,
    ) -> Learned:
        """Forward and backward pass; `at`: the parameters of the pass."""
        self.on_stage("prepare")
        host, config = hosts.BY_NAME[self.config.host], self.config
        logits = forward.run(images)
        judged = self._judged(logits, views)
        weights = self._weights(judged, state, forward.frames)
        found = host.judge(judged, state, config)
        losses = self._losses(judged, found, weights)
        self.on_stage("forward")
        news = _gradient(losses, at)
        if host.again is not None:
            # Statistics are taken up once, by the first pass.
            at = (at.detach() + ascent(news, config.ascent_radius)).requires_grad_()
            again = Pass(
                self, state, self.parameters.split(at), views, moved,
                learns=True, frames=forward.frames,
            )  # fmt: skip
            judged = self._judged(again.run(images), views)
            found = host.again(judged, found, state, config)
            news = _gradient(self._losses(judged, found, weights), at)
        self.on_stage("backward")
        return Learned(logits.detach(), news, found.memory, _both(found.kept, weights.reliable))

    def _judged(self, logits: Tensor, views: int) -> Tensor:
        """The logits that the loss is of, (..., n, C), with the stream axis in front."""
        judged = logits if self.config.loss_over == "views" else logits[::views]
        return self.by_stream(judged)

    def by_stream(self, logits: Tensor) -> Tensor:
        """Logits (n, C) of a batch with the stream axis in front, if there is one."""
        return logits if self.streams is None else logits.view(self.streams, -1, logits.shape[1])

    def _frames(self, images: int, views: int) -> int:
        """Of each stream, among so many images of a batch."""
        return images // views // (self.streams or 1)

    def steps_of(self, images: int, views: int) -> int:
        """How many steps a batch of so many images takes."""
        return 1 if self.anchor is None else math.ceil(self._frames(images, views) / MOST_TOGETHER)

    def _in_turns(
        self,
        run: Callable[..., tuple[Tensor, State]],
        images: Tensor,
        state: State,
        views: int,
        moved: bool | None,
    ) -> tuple[Tensor, State]:
        """Steps of MOST_TOGETHER frames of each stream at most."""
        by_stream = images.view(self.streams or 1, -1, *images.shape[1:])
        found = []
        for part in torch.split(by_stream, MOST_TOGETHER * views, 1):
            logits, state = run(part.flatten(0, 1), state, views=views, moved=moved)
            found.append(logits.view(len(part), -1, logits.shape[1]))
            moved = None
        return torch.cat(found, 1).flatten(0, 1), state

    def _weights(self, judged: Tensor, state: State, frames: int) -> Weights:
        """What weighs the losses of a batch of frames, of logits (..., n, C)."""
        config, judged = self.config, judged.detach()
        certainty = rarity = torch.ones_like(judged[..., 0])
        frequency = reliable = None
        if config.weighting == "ewga":
            flat = judged.flatten(0, -2)
            certainty = accumulation.entropy_weight(flat).view(judged.shape[:-1])
        if self.anchor is not None:
            doubt = content.FRAMES_OF_DOUBT_IN_LOSS
            seen = frames * state["steps"]
            frequency = content.believed_frequency(contents(state), seen, config, doubt)
            rarity = content.rarity(judged.softmax(-1), frequency)
        if config.reliable:
            reliable = hosts.entropies(judged) < config.reliable * math.log(judged.shape[-1])
        return Weights(certainty, rarity, frequency, reliable)

    def _losses(self, judged: Tensor, found: hosts.Judged, weights: Weights) -> Tensor:
        """The host's losses as NanoAdapt weighs them, and the diversity term, (..., n)."""
        losses = weights.certainty * found.losses
        if self.config.diversity:
            assert weights.frequency is not None  # the configuration was checked
            expected = (judged.softmax(-1) * weights.frequency.log()[..., None, :]).sum(-1)
            if found.kept is not None:
                expected = mean_of_kept(expected, found.kept)
            losses = losses + self.config.diversity * expected
        losses = weights.rarity * losses
        return losses if weights.reliable is None else losses * weights.reliable

    def source_parameters(self) -> Tensor:
        """The trained parameters before the first frame, (P,)."""
        return self.parameters.join({n: self.program.parameters[n] for n in self.parameters.names})

    def frozen_logits(self, images: Tensor, state: State) -> Tensor:
        """Logits with the parameters and statistics as they are in the state."""
        with torch.no_grad():
            forward = Pass(self, state, self._values(state), 1, moved=False, frozen=True)
            return forward.run(images)

    def statistics(self, state: State) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and variance that each layer normalises with, by name, each (..., C)."""
        used = by_layer(self.layers, self.used(state))
        return {
            layer.name: (layer.mean + used[layer.name][0], used[layer.name][1])
            for layer in self.program.layers
        }

    def used(self, state: State) -> moments.Moments:
        """The statistics that the state stands for, (..., C) each."""
        if self.anchor is None:
            return state["offset"], state["variance"]
        used, _ = self.anchor.believed(memories(state))
        return used

    def _values(self, state: State) -> dict[str, Tensor]:
        return self.parameters.split(state["parameters"]) if "parameters" in state else {}


class Weights(NamedTuple):
    """Constants of a batch's loss. certainty: min(1, 1/H) of Eq. 9; rarity; (..., n) each.
    frequency: of classes so far as the loss believes it, (..., C). reliable: images that teach,
    (..., n) bool; None: all.
    """

    certainty: Tensor
    rarity: Tensor
    frequency: Tensor | None
    reliable: Tensor | None


class Learned(NamedTuple):
    """Of the images of one backward pass: logits (n, C), gradient (..., P) of their mean loss, the
    host's memory, and which of them count, (..., n); None: all do."""

    logits: Tensor
    news: Tensor
    memory: hosts.Memory
    kept: Tensor | None


class Pass:
    """One forward pass: says what each BatchNorm site normalises with, and collects the new
    statistics.

    values: the trained parameters by name. learns: the gradient will be asked for. frozen: the
    statistics stay as they are. frames: of each stream, in every run.
    """

    def __init__(
        self,
        step: Step,
        state: State,
        values: dict[str, Tensor],
        views: int,
        moved: bool | None,
        *,
        learns: bool = False,
        frozen: bool = False,
        frames: int = 1,
    ) -> None:
        config = step.config
        self.frames = frames
        self._step, self._state, self._values, self._views = step, state, values, views
        # Of the run at work, by layer; and of all layers, for each run with its images.
        self._batches: dict[str, list[moments.Moments]] = {}
        self._runs: list[tuple[moments.Moments, int]] = []
        # `renormalised` averages from its first batch on, in all uses of a layer.
        initial = "source" if config.calibration == "renormalised" else config.initial
        self._smoothing = (
            torch.ones_like(state["steps"], dtype=torch.float32)
            if frozen
            else moments.smoothing_at(
                state["steps"], config.smoothing, config.prior_frames, initial
            )
        )[..., None]
        self._gradient = gradient.PATHS[config.gradient if learns else "constant"]
        self._through = learns and config.gradient != "constant"
        self._frozen = frozen
        self._begins = (state["steps"] == 0)[..., None]
        self._history = config.jacobian == "history" and not frozen
        self._changes: dict[str, Tensor] = {}
        if "change" in state and not frozen:
            if moved is None:
                moved = bool((state["change"] != 0).any())
            if moved:
                self._changes = step.parameters.split(state["change"])
        self._watch = not frozen and "change" in state and (self._history or bool(self._changes))
        # What a layer normalises with, then what else a change of the parameters moves (Eq. 8).
        held = [step.used(state)]
        if step.anchor is not None and self._watch:
            held += memories(state)[:2]
        parts = [by_layer(step.layers, part) for part in held]
        self._held: dict[str, tuple[moments.Moments, ...]] = {
            name: tuple(part[name] for part in parts) for name in step.layers.names
        }
        self._used: dict[int, tuple[Tensor, Tensor]] = {}
        self._jacobians: State = {}

    def run(self, images: Tensor) -> Tensor:
        """Logits of images."""
        program, streams = self._step.program, self._step.streams
        if streams is None:
            logits = program.run(images, self, watch=self._watch)
        else:
            logits = program.logits(program.plain(images, StreamExecution(self, program, streams)))
        if self._step.anchor is not None and not self._frozen:
            # At once: what is small and stays would keep the heap from being used again.
            found = {
                name: moments.pooled([(batch, 1) for batch in uses])
                for name, uses in self._batches.items()
            }
            self._runs.append((flat(self._step.layers, found), len(images)))
            self._batches = {}
        return logits

    def new_state(self, logits: Tensor) -> State:
        """The statistics and Jacobians after the pass; the old ones if any is not finite.

        logits: of all images.
        """
        return finite_or_old({**self._new_statistics(logits), **self._jacobians}, self._state)

    def _new_statistics(self, logits: Tensor) -> State:
        step, state = self._step, self._state
        if step.anchor is None:
            ((offset, variance),) = self._all_held()
            return {"offset": offset, "variance": variance}
        batch = moments.pooled(self._runs)
        new = memories(state)
        if self._watch:
            _, recent, lasting = self._all_held()
            new = new._replace(recent=recent, lasting=lasting)
        for i, (found, p) in enumerate(self._each_frame(batch, step.by_stream(logits))):
            new = step.anchor.update(new, found, p, self.frames * state["steps"] + i)
        return {
            "offset": new.recent[0],
            "variance": new.recent[1],
            "lasting_offset": new.lasting[0],
            "lasting_variance": new.lasting[1],
            "spread": new.spread,
            **{f"content.{name}": value for name, value in new.content._asdict().items()},
        }

    def _each_frame(
        self, batch: moments.Moments, logits: Tensor
    ) -> Iterator[tuple[moments.Moments, Tensor]]:
        """Moments (..., C) and mean prediction of each frame, of logits (..., n, classes)."""
        if self.frames == 1:
            yield batch, content.mean_prediction(logits)
            return
        by_frame = logits.view(*logits.shape[:-2], self.frames, -1, logits.shape[-1])
        p = content.mean_prediction(by_frame)
        for i in range(self.frames):
            yield (batch[0][..., i, :], batch[1][..., i, :]), p[..., i, :]

    def _all_held(self) -> list[moments.Moments]:
        """What is held, of all layers."""
        return [
            flat(self._step.layers, dict(zip(self._held, part, strict=True)))
            for part in zip(*self._held.values(), strict=True)
        ]

    def parameter(self, name: str) -> Tensor:
        """A parameter as trained so far."""
        value = self._values.get(name)
        return self._step.program.parameters[name] if value is None else value

    def statistics(
        self, site: Site, z: Tensor, watched: Watched | None, kernels: Kernels
    ) -> Statistics:
        """The calibrated statistics, after those of a site's input have been collected."""
        streams = self._step.streams
        folded = z if streams is None else fold(z, streams)
        self._kernels = kernels
        mean, variance = self._collected(site.index, z, folded, watched)
        if self._watch:
            self._used[site.index] = (mean.detach(), variance.detach())
        return Statistics(mean, variance)

    def _collected(
        self, index: int, z: Tensor, folded: Tensor, watched: Watched | None
    ) -> moments.Moments:
        """Takes up the statistics of a site's input; mean and variance to normalise it with."""
        layer = self._step.program.sites[index].layer
        with torch.no_grad():
            held = self._held[layer.name]
            if self._watch and self._step.terms[index] and watched is not None:
                held = self._shifted(held, index, z, watched)
        with torch.set_grad_enabled(self._through):
            only = self._views if self._step.config.statistics_over == "frame" else 1
            # Without a gradient through them, anchored statistics do not ask for the batch's.
            seen = self._by_frame(z[::only], layer)
            batch = seen
            if batch is None or self._through:
                batch = self._batch_moments(folded[::only], layer)
            (offset, variance), held = self._calibrated(layer, held, batch)
            taken = (batch[0].detach(), batch[1].detach()) if seen is None else seen
            self._batches.setdefault(layer.name, []).append(taken)
            self._held[layer.name] = held
            if self._through and only > 1:
                batch = self._batch_moments(folded, layer)
            offset, variance = self._gradient(batch, (offset, variance), layer.eps)
            return layer.mean + offset, variance

    def _calibrated(
        self, layer: BatchNorm, held: tuple[moments.Moments, ...], batch: moments.Moments
    ) -> tuple[moments.Moments, tuple[moments.Moments, ...]]:
        """The statistics to normalise with, and what is held from here on."""
        config, seen = self._step.config, (batch[0].detach(), batch[1].detach())
        used = held[0]
        if config.calibration == "running":
            used = moments.blend(used, batch, self._smoothing)
            held = ((used[0].detach(), used[1].detach()),)
        elif self._frozen:
            pass
        elif config.calibration == "mixed":
            source = torch.zeros_like(used[0]), layer.variance.expand_as(used[1])
            used = moments.mix(source, batch, config.alpha)
            held = ((used[0].detach(), used[1].detach()),)
        elif config.calibration == "renormalised":
            if config.initial == "first" and layer.name not in self._batches:
                used = (
                    torch.where(self._begins, seen[0], used[0]),
                    torch.where(self._begins, seen[1], used[1]),
                )
            held = (moments.blend_deviations(used, seen, self._smoothing, layer.eps),)
        return used, held

    def _by_frame(self, z: Tensor, layer: BatchNorm) -> moments.Moments | None:
        """Moments (..., n, C) of n frames, where they are more than one and the statistics are
        anchored, which look at each; else None."""
        if self.frames == 1 or self._step.anchor is None or self._frozen:
            return None
        streams = self._step.streams
        lead = (self.frames,) if streams is None else (streams, self.frames)
        parts = math.prod(lead)
        with torch.no_grad():
            offset, variance = self._moments_of(fold(z, parts), layer, parts)
        return offset.view(*lead, -1), variance.view(*lead, -1)

    def _batch_moments(self, folded: Tensor, layer: BatchNorm) -> moments.Moments:
        """Moments (C,), or (streams, C) of folded streams."""
        streams = self._step.streams
        offset, variance = self._moments_of(folded, layer, streams or 1)
        if streams is None:
            return offset, variance
        return offset.view(streams, -1), variance.view(streams, -1)

    def _moments_of(self, folded: Tensor, layer: BatchNorm, parts: int) -> moments.Moments:
        """Moments (parts * C,) of what is folded in so many parts."""
        centre = layer.mean if parts == 1 else layer.mean.repeat(parts)
        return self._kernels.moments(folded, centre)

    def affine(self, name: str | None) -> Tensor | None:
        """An affine parameter for all folded channels."""
        if name is None:
            return None
        value, streams = self.parameter(name), self._step.streams
        if streams is None:
            return value
        return value.flatten() if name in self._values else value.repeat(streams)

    def _shifted(
        self,
        held: tuple[moments.Moments, ...],
        index: int,
        z: Tensor,
        watched: Watched,
    ) -> tuple[moments.Moments, ...]:
        """The histories moved to the present parameters (Eq. 8); updates running Jacobians."""
        layer = self._step.program.sites[index].layer
        terms = TermValues(self._step, index, z.detach(), watched, self)
        change = None
        if self._changes:
            change = (
                terms.by_history(self._state, self._changes)
                if self._history
                else terms.by_direction(self._changes)
            )
        if self._history:
            first = self._state["steps"] == 0  # the source's Jacobian is unknown: take the first
            m = torch.where(first, torch.zeros_like(self._smoothing), self._smoothing)
            for key, value in terms.jacobians().items():
                self._jacobians[key] = m * self._state[key] + (1 - m) * value
        if change is None:
            return held
        share = 1 / self._step.uses[layer.name]
        mean, square = change.mean * share, change.square * share
        return tuple(moments.shift(history, mean, square, layer.variance) for history in held)

    def normalised(self, index: int, z: Tensor) -> Tensor:
        """x^ of an earlier site, before its affine part."""
        mean, variance = self._used[index]
        shape = (1, -1) + (1,) * (z.ndim - 2)
        scale = torch.rsqrt(variance + self._step.program.sites[index].layer.eps)
        return (z - mean.view(shape)) * scale.view(shape)


class StreamExecution(Execution):
    """Runs several streams as one batch: their channels side by side at each BatchNorm."""

    def __init__(self, forward: Pass, program: Program, streams: int) -> None:
        super().__init__(program, forward, program.fused)
        self._forward, self._streams = forward, streams

    def normalise(
        self,
        index: int,
        z: Tensor,
        a: Tensor | None,
        paths: Sequence[Sequence[Tensor]],
        residual: Tensor | None = None,
    ) -> Tensor:
        """BatchNorm with the statistics of each stream."""
        site = self._sites[index]
        mean, variance = self._forward.statistics(site, z, None, self._kernels)
        weight, bias = (self._forward.affine(n) for n in (site.layer.weight, site.layer.bias))
        norm = Normalisation(mean.flatten(), variance.flatten(), weight, bias, site.layer.eps)
        beside = None if residual is None else fold(residual, self._streams)
        folded = fold(z, self._streams)
        out = self._kernels.normalise(folded, norm, self._fused.get(index), beside)
        return unfold(out, self._streams)


def _nobody(stage: str) -> None:
    """Listens to no stage."""


def finite_or_old(new: State, old: State) -> State:
    """The new tensors, all of a stream; the old ones if any value of it is not finite."""
    finite = torch.ones_like(old["steps"], dtype=torch.bool)
    for value in new.values():
        axes = tuple(range(finite.ndim, value.ndim))
        finite = finite & torch.isfinite(value).all(axes)
    return {
        name: torch.where(
            finite.view(finite.shape + (1,) * (value.ndim - finite.ndim)), value, old[name]
        )
        for name, value in new.items()
    }


def _both(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Images that count for both; None: all do."""
    if a is None or b is None:
        return b if a is None else a
    return a & b


def _gradient(losses: Tensor, at: Tensor) -> Tensor:
    """Of the mean of losses (..., n), by the parameters `at` (..., P)."""
    (found,) = torch.autograd.grad(losses.mean(-1).sum(), at)
    return found


def by_layer(layers: Layout, vectors: moments.Moments) -> dict[str, moments.Moments]:
    """Moments (..., C) of all layers, as views by layer."""
    offsets, variances = layers.split(vectors[0]), layers.split(vectors[1])
    return {name: (offsets[name], variances[name]) for name in layers.names}


def flat(layers: Layout, found: Mapping[str, moments.Moments]) -> moments.Moments:
    """The inverse of `by_layer`."""
    return (
        layers.join({name: value[0] for name, value in found.items()}),
        layers.join({name: value[1] for name, value in found.items()}),
    )


def memories(state: State) -> Memories:
    """What anchored calibration holds."""
    return Memories(
        (state["offset"], state["variance"]),
        (state["lasting_offset"], state["lasting_variance"]),
        state["spread"],
        contents(state),
    )


def contents(state: State) -> Content:
    """What the stream has shown."""
    return Content(*(state[f"content.{name}"] for name in Content._fields))


def foldable(config: MethodConfig) -> bool:
    """Whether several streams of a configuration can share a batch."""
    return config.adapt == "affine" and config.taylor == "none"


def fold(z: Tensor, streams: int) -> Tensor:
    """(streams * n, C, *spatial) as (n, streams * C, *spatial), so that no channel is shared."""
    n = z.shape[0] // streams
    return z.view(streams, n, *z.shape[1:]).transpose(0, 1).flatten(1, 2)


def unfold(z: Tensor, streams: int) -> Tensor:
    """The inverse of `fold`."""
    parts = z.view(z.shape[0], streams, z.shape[1] // streams, *z.shape[2:])
    return parts.transpose(0, 1).flatten(0, 1)


class TermValues:
    """The Taylor terms of one site on one batch."""

    def __init__(
        self,
        step: Step,
        index: int,
        z: Tensor,
        watched: Watched,
        forward: Pass,
    ) -> None:
        site = step.program.sites[index]
        assert site.linear is not None
        self._site, self._linear, self._terms = site, site.linear, step.terms[index]
        self._a, self._paths, self._pass = watched.a.detach(), watched.paths, forward
        shape = (1, -1) + (1,) * (z.ndim - 2)
        self._centred = z - site.layer.mean.view(shape)
        self._weight = forward.parameter(site.linear.weight).detach()

    def jacobians(self) -> State:
        """This batch's Jacobians by state key."""
        found: State = {}
        for term in self._terms:
            if term.kind == "bias":
                axes = [0, *range(2, self._centred.ndim)]
                found[f"{term.key}.square"] = 2 * self._centred.mean(axes)
                continue
            if term.kind == "weight":
                jacobian = taylor.weight_jacobian(
                    self._centred, self._a, tuple(self._weight.shape), self._linear
                )
            else:
                jacobian = taylor.channel_jacobian(
                    self._centred, self._field(term), self._weight, self._linear
                )
            found[f"{term.key}.mean"], found[f"{term.key}.square"] = jacobian
        return found

    def by_history(self, state: State, changes: dict[str, Tensor]) -> taylor.Change:
        """First-order change by the running Jacobians."""
        total: taylor.Change | None = None
        for term in self._terms:
            delta = changes[term.parameter]
            square = state[f"{term.key}.square"]
            if term.kind == "bias":
                change = taylor.Change(delta, square * delta)
            else:
                jacobian = taylor.Jacobian(state[f"{term.key}.mean"], square)
                apply = taylor.weight_change if term.kind == "weight" else taylor.channel_change
                change = apply(jacobian, delta, self._linear.groups)
            total = change if total is None else _sum(total, change)
        assert total is not None
        return total

    def by_direction(self, changes: dict[str, Tensor]) -> taylor.Change:
        """First-order change by one directional derivative on this batch."""
        dz = torch.zeros_like(self._centred)
        da: Tensor | None = None
        for term in self._terms:
            delta = changes[term.parameter]
            if term.kind == "weight":
                dz = dz + taylor.apply_linear(self._a, delta, None, self._linear)
            elif term.kind == "bias":
                dz = dz + delta.view((1, -1) + (1,) * (dz.ndim - 2))
            else:
                moved = self._field(term, delta)
                da = moved if da is None else da + moved
        if da is not None:
            dz = dz + taylor.apply_linear(da, self._weight, None, self._linear)
        return taylor.direction_change(self._centred, dz)

    def _field(self, term: Term, scale: Tensor | None = None) -> Tensor:
        """da / dgamma or da / dbeta, channel by channel, or along `scale` (C,)."""
        path = self._site.paths[term.path]
        z, y, others = self._paths[term.path]
        tangent = (
            torch.ones_like(y)
            if term.kind == "beta"
            else self._pass.normalised(path.source, z.detach())
        )
        if scale is not None:
            tangent = tangent * scale.view((1, -1) + (1,) * (y.ndim - 2))
        return taylor.field_of(
            path.module, y.detach(), tuple(other.detach() for other in others), tangent
        )


def _sum(a: taylor.Change, b: taylor.Change) -> taylor.Change:
    return taylor.Change(a.mean + b.mean, a.square + b.square)
