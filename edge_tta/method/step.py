"""The adaptation step: one pure function from images and state to logits and new state.

    step.predict(images, state) -> outputs                  changes nothing
    step.observe(images, state) -> (outputs, new_state)     forward pass and calibration
    step.learn(images, state)   -> (outputs, new_state)     also backward pass and optimizer

`images` is (N * V, channels, H, W): N frames, V views of each, the views of a frame together and
the frame itself first. Outputs, of a classifier logits (N, K), are of the N frames, from before the
update; the loss is over their class votes (`edge_tta.tasks`). Nothing else is read or
changed: reset, save, resume and roll back are all "take the state". Branches on data are arithmetic
(`torch.where`), so that a trace of the step is the whole algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.errors import ModelError
from edge_tta.method.batches import MICRO_BATCH, Outputs, by_micro_batch, of_frames
from edge_tta.method.calibration import make_calibration
from edge_tta.method.forward import Fixed, Forward, Setting, make_setting, statistics_by_layer
from edge_tta.method.hosts import make_host, trained_sites
from edge_tta.method.loss import both, make_loss
from edge_tta.method.optimizer import make_optimizer
from edge_tta.method.stages import OnStage, no_stage
from edge_tta.method.state import Layout, State, finite_or_old, parameter_layout
from edge_tta.network.program import Program, Statistics


class Step:
    """The step of one method on one program. Holds nothing that changes.

    `on_stage` is told the name of each stage that has ended, for measurements: prepare, forward,
    backward, update. `observing` is the setting of passes that learn nothing.

    Args:
        program: captured with `config.folded_below`.
        traced: reckon with changed parameters at every step, as a trace must: a shift by no change
            is none.

    Raises:
        ModelError: nothing of the network can be trained.
    """

    def __init__(self, program: Program, config: MethodConfig, *, traced: bool = False) -> None:
        self.program, self.config, self._traced = program, config, traced
        self.on_stage: OnStage = no_stage
        self.parameters = Layout((), ())
        self.calibration = make_calibration(program, config.calibration)
        self._micro_batch = MICRO_BATCH if self.calibration.by_frame else 0
        if config.trains:
            self._host = make_host(config.host, config.loss)
            self._loss = make_loss(config.loss, self.calibration)
            self._optimizer = make_optimizer(config, self._host)
            sites = trained_sites(program.sites, config.layers, self._host)
            self.parameters = parameter_layout(program, sites, config.layers.train)
            if not self.parameters.names:
                raise ModelError(
                    "no BatchNorm of the model has affine parameters, so there is nothing to "
                    "train; use --host norm, which only calibrates"
                )
        self._learning = make_setting(
            program, self.calibration, config.calibration, set(self.parameters.names)
        )
        self.observing = self._learning.without_gradient()

    def initial_state(self) -> State:
        """Return the state before the first frame."""
        steps = torch.zeros((), dtype=torch.int64, device=self.program.device)
        state: State = {"steps": steps, **self.calibration.initial()}
        if self.config.trains:
            source = self.source_parameters()
            state |= self._optimizer.initial(source)
            state |= self._host.memory(self.program.classes, source)
            if self._host.regulariser is not None:
                state["host.fisher"] = torch.zeros_like(source)
            if self._learning.taylor is not None:
                state |= self._learning.taylor.initial(source)
        return state

    def predict(self, images: Tensor, state: State) -> Outputs:
        """Return the outputs of frames with the state's parameters and statistics."""
        used = self.calibration.statistics(state)
        with torch.no_grad():
            hook = Fixed(self.program, self.values(state), used)
            return self.program.run(images, hook)

    def observe(self, images: Tensor, state: State, *, views: int = 1) -> tuple[Outputs, State]:
        """Predict and calibrate; with running statistics by Eq. 5, after an update by Eq. 8 first.

        Args:
            views: V of `images`, >= 1.

        Returns:
            Outputs of the frames, and the new state; the given one is not changed.
        """
        if self._is_large(images, views):
            return by_micro_batch(self.observe, images, state, views)
        self.on_stage("prepare")
        with torch.no_grad():
            forward = self._forward(self.observing, state, self.values(state), images, views)
            outputs = forward.run(images)
            self.on_stage("forward")
            votes = self.program.votes(outputs)
            new = {**state, **forward.new_state(votes), "steps": state["steps"] + 1}
            if "taylor.change" in state:
                new["taylor.change"] = torch.zeros_like(state["taylor.change"])
            self.on_stage("update")
        return of_frames(outputs, views), new

    def learn(self, images: Tensor, state: State, *, views: int = 1) -> tuple[Outputs, State]:
        """Predict, calibrate, and descend the host's loss (Eq. 9), one optimizer step in S.

        A gradient that is not finite counts as zero; where every image of S steps was left out,
        the parameters stay. Arguments and results as of `observe`.
        """
        if not self.config.trains:
            return self.observe(images, state, views=views)
        if self._is_large(images, views):
            return by_micro_batch(self.learn, images, state, views)
        self.on_stage("prepare")
        frames, host = len(images) // views, self._host
        vector = state["opt.parameters"].detach().requires_grad_()
        with torch.enable_grad():
            forward = self._forward(
                self._learning, state, self.parameters.split(vector), images, views
            )
            outputs = forward.run(images)
            votes = self.program.votes(outputs)
            weights = self._loss.weights(votes, state)
            answer = host.loss(votes, state)
            loss = self._loss.of_batch(votes, answer, weights)
            self.on_stage("forward")
            (gradient,) = torch.autograd.grad(loss, vector)
            if host.second_pass is not None:
                vector = (vector.detach() + host.second_pass.offset(gradient)).requires_grad_()
                values = self.parameters.split(vector)
                second = self.program.votes(
                    self._forward(self._learning, state, values, images, views).run(images)
                )
                answer = host.second_pass.loss(second, answer, state)
                loss = self._loss.of_batch(second, answer, weights)
                (gradient,) = torch.autograd.grad(loss, vector)
            self.on_stage("backward")
        with torch.no_grad():
            source = self.source_parameters()
            mask = both(answer.mask, weights.mask)
            new = {
                **state,
                **forward.new_state(votes.detach()),
                **finite_or_old(answer.memory, state),
                **self._optimizer.updated(state, gradient, mask, source, frames),
                "steps": state["steps"] + 1,
            }
            new |= self._optimizer.recovered(new, source)
            if "taylor.change" in state:
                new["taylor.change"] = new["opt.parameters"] - state["opt.parameters"]
            self.on_stage("update")
        return of_frames(outputs, views), new

    def source_parameters(self) -> Tensor:
        """Return the trained parameters before the first frame, (P,)."""
        return self.parameters.join({n: self.program.parameters[n] for n in self.parameters.names})

    def values(self, state: State) -> Mapping[str, Tensor]:
        """Return the trained parameters of a state, by name."""
        vector = state.get("opt.parameters")
        return {} if vector is None else self.parameters.split(vector)

    def statistics(self, state: State) -> dict[str, Statistics]:
        """Return mean and variance that each layer normalises with, by name, (C,) each."""
        return statistics_by_layer(self.program, self.calibration.statistics(state))

    def _forward(
        self,
        setting: Setting,
        state: State,
        values: Mapping[str, Tensor],
        images: Tensor,
        views: int,
    ) -> Forward:
        changes = None
        change = state.get("taylor.change")
        if change is not None and (self._traced or bool((change != 0).any())):
            changes = self.parameters.split(change)
        return Forward(setting, state, values, changes, len(images) // views)

    def _is_large(self, images: Tensor, views: int) -> bool:
        return 0 < self._micro_batch < len(images) // views
