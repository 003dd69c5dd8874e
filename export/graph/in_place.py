"""Networks whose BatchNorms are folded into convolutions that a device changes in place.

Between two updates an adapted network is a folded network (`edge_tta.method.folding`). Here its
graph is written so that onnxruntime optimises it as it does any network of constants; the device
then has the constants of the *variable* convolutions in its own memory, and changes them
(`edge_tta.bundle.folding`, which names the vectors):

    folded     y = (scale W) a + bias     the convolution in front
    measuring  u = W a + centre           measured; then y = scale u + shift, by a depthwise
                                          convolution of one position;
               of layers that stay as trained, y as in folded
               where the map is large: y as in folded, and u at the sampled positions alone

A site without a convolution in front has depthwise ones in both. The bias in the file only says
which convolution it is: `variable_tag`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx

from edge_tta.bundle.folding import MEAN, SQUARE, VARIABLE, Kind, variable_tag, variable_weight
from edge_tta.method.folding import observes_folded
from edge_tta.method.moments import axis_weights, sampling_stride
from edge_tta.method.step import Step
from edge_tta.network.program import Program
from export.graph.nodes import AXIS_WEIGHTS, BATCH_NORMS, channel_means, made
from export.graph.passes import Constants
from export.graph.trace import Folding, Traced, trace_calibrate, trace_fold, trace_network

aten = torch.ops.aten


def trace_folded(
    step: Step, image_shape: tuple[int, ...], known: Collection[Any]
) -> dict[str, Traced]:
    """Return the step's folded graphs: folded, fold, and where they can observe measuring,
    calibrate; none, where something else than BatchNorm is trained, or a BatchNorm stands where no
    convolution can.
    """
    program, affine = step.program, set()
    for layer in program.layers:
        affine |= {layer.weight, layer.bias}
    traced, order = trace_network(program, image_shape, known)
    folded = _Folding(_copied(traced), order, program)
    if not affine.issuperset(step.parameters.names) or not folded.fits:
        return {}
    sites = range(len(program.sites))
    folding = Folding(step, torch.cat([folded.fold(index) for index in sites]))
    graphs = {"folded": folded.finished(), "fold": trace_fold(step, folding, known)}
    if observes_folded(step):
        measuring, unused = _Folding(traced, order, program), step.calibration.unused
        moments = zip(
            *(
                measuring.pass_by(index)
                if program.sites[index].layer.name in unused
                else measuring.measure(index)
                for index in sites
            ),
            strict=True,
        )
        graphs["measuring"] = measuring.finished(dict(zip((MEAN, SQUARE), moments, strict=True)))
        graphs["calibrate"] = trace_calibrate(step, folding, image_shape, known)
    return graphs


def _copied(traced: Traced) -> Traced:
    """Return the graph for itself; its constants are shared."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(traced.module.graph, {}))
    return Traced(fx.GraphModule(traced.module, graph), traced.inputs, traced.outputs)


class _Folding:
    """One graph: its BatchNorms are replaced one by one.

    Args:
        order: the sites that they are.
    """

    def __init__(self, traced: Traced, order: Sequence[int], program: Program) -> None:
        self._traced, self._sites = traced, program.sites
        self._graph, self._constants = traced.module.graph, Constants(traced.module)
        norms = [node for node in self._graph.nodes if node.target in BATCH_NORMS]
        self._norms = dict(zip(order, norms, strict=True))

    @property
    def fits(self) -> bool:
        """Tell whether each BatchNorm is of a map or a signal."""
        inputs = (cast(fx.Node, norm.args[0]) for norm in self._norms.values())
        return all(z.meta["val"].ndim in (3, 4) for z in inputs)

    def fold(self, index: int) -> Tensor:
        """Replace a site by its variable convolution; return its origin."""
        norm, layer = self._norms[index], self._sites[index].layer
        z = cast(fx.Node, norm.args[0])
        with self._graph.inserting_before(norm):
            y, origin = self._folded(z, index)
        self._replace(norm, y)
        return origin - layer.mean

    def measure(self, index: int) -> tuple[fx.Node, fx.Node]:
        """Replace a site; return means of u and of its square, (1, C, ...)."""
        norm, layer = self._norms[index], self._sites[index].layer
        z = cast(fx.Node, norm.args[0])
        strides = [sampling_stride(side) for side in z.meta["val"].shape[2:]]
        linear = self._linear(z)
        with self._graph.inserting_before(norm):
            if linear is None:
                u = self._variable_channelwise(z, index, "centre", strides)
            else:
                u = self._variable(z, index, "centre", linear[0], strides)
            if linear is None or max(strides) > 1:
                y, _ = self._folded(z, index)
            else:
                y = self._variable_channelwise(u, index, "shift", _all(u))
            square = made(self._graph, aten.mul.Tensor, (u, u), u.meta["val"])
            value = torch.empty((1, layer.channels, *(1 for _ in z.meta["val"].shape[2:])))
            weights = self._axis_weights(z)
            mean = made(self._graph, channel_means, (u, *weights), value)
            mean_square = made(self._graph, channel_means, (square, *weights), value)
        self._replace(norm, y)
        return mean, mean_square

    def pass_by(self, index: int) -> tuple[fx.Node, fx.Node]:
        """Replace a site whose moments nothing reads; return zeros in their place, (1, C, 1, 1)."""
        zeros = torch.zeros((1, self._sites[index].layer.channels, 1, 1))
        with self._graph.inserting_before(self._norms[index]):
            none = self._constants.add(self._graph, zeros, f"unmeasured_{index}")
            none.meta["val"] = zeros
        self.fold(index)
        return none, none

    def finished(self, more: Mapping[str, Sequence[fx.Node]] | None = None) -> Traced:
        """Return the graph, with these outputs besides: means (1, C, ...) one after the other."""
        (output,) = (node for node in self._graph.nodes if node.op == "output")
        joined = []
        for means in (more or {}).values():
            channels = sum(site.layer.channels for site in self._sites)
            value = torch.empty((1, channels, 1, 1))
            with self._graph.inserting_before(output):
                means = [
                    node
                    if node.meta["val"].ndim == 4
                    else made(
                        self._graph,
                        aten.view.default,
                        (node, [1, -1, 1, 1]),
                        node.meta["val"].view(1, -1, 1, 1),
                    )
                    for node in means
                ]
                whole = made(self._graph, aten.cat.default, (list(means), 1), value)
                joined.append(made(self._graph, aten.view.default, (whole, [-1]), value.view(-1)))
        output.args = ((*cast(Any, output.args[0]), *joined),)
        self._graph.eliminate_dead_code()
        self._traced.module.recompile()
        names = (*self._traced.outputs, *(more or {}))
        return Traced(self._traced.module, self._traced.inputs, names)

    def _folded(self, z: fx.Node, index: int) -> tuple[fx.Node, Tensor]:
        """Return y of a site, and the bias of the convolution that takes it up."""
        linear = self._linear(z)
        if linear is None:
            channels = self._sites[index].layer.channels
            y = self._variable_channelwise(z, index, "bias", _all(z))
            return y, torch.zeros(channels)
        return self._variable(z, index, "bias", linear[0], _all(z)), linear[1]

    def _linear(self, z: fx.Node) -> tuple[Tensor, Tensor] | None:
        """Return weight and bias of the convolution in front; None: it cannot take a site up."""
        if z.target is not aten.convolution.default or z.args[6] or len(z.users) != 1:
            return None
        if str(cast(fx.Node, z.args[1]).target).startswith(VARIABLE):  # of the site in front
            return None
        weight, bias = (self._constants.of(node) for node in z.args[1:3])
        if weight is None or (bias is None and z.args[2] is not None):
            return None
        return weight, weight.new_zeros(len(weight)) if bias is None else bias

    def _variable(
        self, z: fx.Node, index: int, kind: Kind, weight: Tensor, every: Sequence[int]
    ) -> fx.Node:
        """Return the convolution z as a variable one, at every so many places."""
        a, _, _, strides, *rest = cast(Any, z.args)
        wider = [step * more for step, more in zip(strides, every, strict=True)]
        arguments = (a, *self._parameters(index, kind, weight), wider, *rest)
        return made(self._graph, aten.convolution.default, arguments, _every(z, every))

    def _variable_channelwise(
        self, z: fx.Node, index: int, kind: Kind, every: Sequence[int]
    ) -> fx.Node:
        """Return each channel's values times one number plus another, at every so many places."""
        axes, channels = len(every), self._sites[index].layer.channels
        zeros, ones = [0] * axes, [1] * axes
        parameters = self._parameters(index, kind, torch.ones((channels, 1, *ones)))
        arguments = (z, *parameters, list(every), zeros, ones, False, zeros, channels)
        return made(self._graph, aten.convolution.default, arguments, _every(z, every))

    def _parameters(self, index: int, kind: Kind, weight: Tensor) -> tuple[fx.Node, fx.Node]:
        """Return nodes of the weight and of the tag in the bias's place."""
        tag = torch.from_numpy(variable_tag(index, kind, self._sites[index].layer.channels))
        name = variable_weight(index, kind)
        return (
            self._constants.add(self._graph, weight, name),
            self._constants.add(self._graph, tag, f"tag_of_{name}"),
        )

    def _axis_weights(self, z: fx.Node) -> list[fx.Node]:
        """Return nodes of the weights of z's sampled rows along each axis; none: all weigh the
        same."""
        sides = z.meta["val"].shape[2:]
        weights = axis_weights(sides)
        if weights is None:
            return []
        return [
            self._constants.add(self._graph, own, f"{AXIS_WEIGHTS}{side}")
            for side, own in zip(sides, weights, strict=True)
        ]

    def _replace(self, norm: fx.Node, y: fx.Node) -> None:
        """Put y in the place of a BatchNorm, whose other outputs nothing reads."""
        for user in list(norm.users):
            user.replace_all_uses_with(y)  # getitem 0
            self._graph.erase_node(user)
        self._graph.erase_node(norm)


def _all(node: fx.Node) -> list[int]:
    return [1] * (node.meta["val"].ndim - 2)


def _every(node: fx.Node, every: Sequence[int]) -> Tensor:
    """Return an example of a node's value at every so many places along each axis."""
    value = node.meta["val"]
    sides = [-(-side // k) for side, k in zip(value.shape[2:], every, strict=True)]
    return cast(Tensor, value.new_empty((*value.shape[:2], *sides)))
