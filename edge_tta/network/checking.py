"""Checks of a module before it is captured: unwrapping, refusals, and advice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from edge_tta.errors import ModelError
from edge_tta.network.exporting import first_line

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_NORMALISATIONS = (nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)
_QUANTISED = tuple(
    f"torch.{name}"
    for name in ("ao.nn.quantized", "ao.nn.qat", "ao.nn.intrinsic.q", "ao.quantization.")
)
_MULTIPLES = (2, 4, 8, 16, 32, 64)
_SIZES = (28, 32, 48, 64, 96, 112, 128, 160, 192, 224, 240, 256, 288, 299, 320, 384, 448, 512)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside DataParallel, DistributedDataParallel and torch.compile.

    Raises:
        ModelError: there is none that can be captured.
    """
    inner = _inside(model)
    while inner is not model:
        model, inner = inner, _inside(inner)
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(
            "the model is TorchScript, which cannot be captured; give the nn.Module that it was "
            "made from"
        )
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"the model is a {type(model).__name__}; expected an nn.Module, with its weights loaded"
        )
    return model


def unwrap_parts(model: nn.Module) -> None:
    """Take the same wrappers off the modules inside, and off their forward passes, in place.

    Heads as YOLO's of Ultralytics, which keep anchors for the latest shape, make them anew each
    time: a capture would else be for one number of images.
    """
    for module in list(model.modules()):
        if all(hasattr(module, name) for name in ("dynamic", "shape", "anchors", "stride")):
            setattr(module, "dynamic", True)  # noqa: B010 - for the types of nn.Module
        compiled = getattr(vars(module).get("forward"), "_torchdynamo_orig_callable", None)
        if getattr(compiled, "__func__", None) is type(module).forward:
            del module.forward  # it is bound to the module that this one is a copy of
        for name, child in module._modules.items():
            if child is not None and _inside(child) is not child:
                module._modules[name] = unwrapped(child)


def check_module(model: nn.Module) -> None:
    """Refuse what no capture could use; cheap, so that it is told where an adapter is made.

    Raises:
        ModelError: quantised, pruned or reparametrised by hooks, or without anything that could
            be a BatchNorm's running statistics, or the scale of another normalisation.
    """
    for name, module in model.named_modules():
        if type(module).__module__.startswith(_QUANTISED):
            raise ModelError(
                f"the model is quantised, or prepared for it ({name}); expected the float network "
                "that it was made from"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{name} is TorchScript, which cannot be captured; expected the nn.Module that it "
                "was made from"
            )
        _refuse_hooks(name, module)
    untrained = [*model.buffers(), *(p for p in model.parameters() if not p.requires_grad)]
    if not any(is_lazy(t) or (t.ndim == 1 and t.is_floating_point()) for t in untrained):
        other = [m for m in model.modules() if isinstance(m, _NORMALISATIONS)]
        if any(m.weight is not None for m in other):
            return
        names = sorted({type(m).__name__ for m in other})
        instead = f" (it normalises by {', '.join(names)}, without a scale)" if other else ""
        raise ModelError(
            f"the model holds no BatchNorm with running statistics{instead}, so there is nothing "
            "to adapt; expected a network with BatchNorm layers that are not folded away"
        )


def evaluating(model: nn.Module) -> nn.Module:
    """Return the model, in evaluation mode.

    Raises:
        ModelError: it cannot be put there.
    """
    try:
        return model.eval()
    except Exception as error:
        if isinstance(model, torch.fx.GraphModule):  # of torch.export, which has fixed its mode
            return model
        raise ModelError(
            f"the model cannot be put in evaluation mode: {first_line(error)}; let its own train() "
            "take a mode: def train(self, mode=True)"
        ) from error


def input_advice(model: nn.Module, images: Tensor) -> str:
    """Return what to do about a model whose forward pass refuses images (N, channels, H, W)."""
    needed = required_parameters(model.forward)
    if len(needed) > 1:
        return (
            f"its forward takes {len(needed)} inputs ({', '.join(needed)}): wrap it in a module "
            "whose forward takes the images alone"
        )
    for m in _MULTIPLES:
        if (sides := _multiples(model, images, m)) is not None:
            return f"its sides must be multiples of {m}: set --size {sides[0]}x{sides[1]}"
    for probe in _probes(images):
        if _takes(model, probe.images):
            return f"it takes {probe.takes}: {probe.advice}"
    wanted, given = _first_channels(model), images.shape[1]
    if wanted in {1, 3} - {given}:
        return f"it seems to take {_of_channels(wanted)}"
    return "expected a forward pass of that float tensor (N, channels, H, W) alone"


def required_parameters(function: Callable[..., Any]) -> list[str]:
    """Return names of the parameters that a call must give.

    Raises:
        ValueError: a built-in that does not tell.
    """
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]


class _Probe(NamedTuple):
    """Images of another kind; what a model that takes them takes, and what to do then."""

    takes: str
    images: Tensor
    advice: str


def _probes(images: Tensor) -> Iterator[_Probe]:
    n, channels, height, width = images.shape
    wrap = "wrap it in a module whose forward"
    yield _Probe(
        "uint8 images",
        images.mul(64).add(128).clamp(0, 255).byte(),
        f"{wrap} converts them, or take its normalisation in front of it off",
    )
    yield _Probe(
        "one image alone", images[:1], "remove what fixes the batch size: views come together"
    )
    last = images.permute(0, 2, 3, 1)
    yield _Probe(
        "images with the channels last (N, H, W, C)",
        last,
        f"{wrap} begins with images.permute(0, 2, 3, 1)",
    )
    for other in {1, 3} - {channels}:
        takes, _, advice = _of_channels(other).partition(": ")
        yield _Probe(takes, images[:, :1].expand(n, other, height, width), advice)
    for size in _SIZES:
        if (size, size) != (height, width):
            yield _Probe(
                f"images of {size} x {size}, not {height} x {width}",
                images.new_zeros((n, channels, size, size)),
                f"set --size {size}",
            )


def _takes(model: nn.Module, images: Tensor) -> bool:
    try:
        model(images)
    except Exception:  # whatever a user's network raises
        return False
    return True


def _multiples(model: nn.Module, images: Tensor, m: int) -> list[int] | None:
    """Return the sides of images, (H, W) in pixels, as the next multiples of m; None: the model
    refuses them too, or what is no multiple is not what it refuses."""
    sides = [-(-side // m) * m for side in images.shape[2:]]

    def takes(more: int) -> bool:
        larger = (side + more for side in sides)
        return _takes(model, images.new_zeros((*images.shape[:2], *larger)))

    refused_for_it = takes(0) and takes(m) and not takes(m // 2)
    return sides if refused_for_it and sides != list(images.shape[2:]) else None


def _of_channels(number: int) -> str:
    """Return what images of 1 or 3 channels are called, and what to do to have them."""
    if number == 1:
        return "images of 1 channel: set --channels gray"
    return "images of 3 channels: leave --channels out"


def _first_channels(model: nn.Module) -> int | None:
    """Return how many channels the convolution takes that was made first; None: there is none."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return None if first is None else first.in_channels


def _inside(model: nn.Module) -> nn.Module:
    """Return what a wrapper holds; another module itself.

    A module without a forward pass, around one that it calls `module`, holds an average of weights.
    """
    inner = getattr(model, "_orig_mod", None)
    if isinstance(model, nn.Module) and inner is None:
        averages = type(model).forward is nn.Module.forward
        inner = getattr(model, "module", None) if averages or isinstance(model, _PARALLEL) else None
    return inner if isinstance(inner, nn.Module) else model


def _refuse_hooks(name: str, module: nn.Module) -> None:
    """Raise ModelError where a tensor is computed anew by a hook before each forward pass."""
    layer = f"model.{name}" if name else "model"
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, prune.BasePruningMethod):
            what, remedy = "pruned", f'prune.remove({layer}, "{hook._tensor_name}")'
        elif isinstance(hook, WeightNorm):
            what, remedy = "under weight_norm", f"remove_weight_norm({layer})"
        elif isinstance(hook, SpectralNorm):
            what, remedy = "under spectral_norm", f"remove_spectral_norm({layer})"
        else:
            continue
        raise ModelError(
            f"{name or 'the model'} is {what}, and its weight is no parameter; make it one, here "
            f"and wherever else: torch.nn.utils.{remedy}"
        )
