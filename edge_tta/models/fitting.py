"""Weights that fit a network: which state dict of a file, and under which prefix."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from edge_tta.errors import ModelError, one_line, printable
from edge_tta.models.weights import StateDict, read_weights

_log = logging.getLogger(__name__)

# Parts of names that wrappers of PyTorch add, wherever they stand.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# What people call the network itself, where a file holds an average of it, or a teacher, too.
_USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
# What tools leave among a network's weights: torch's AveragedModel, thop's profile.
_LEFT_BY_TOOLS = {"n_averaged", "total_ops", "total_params"}
_SHOWN = 3


class _Choice(NamedTuple):
    """A state dict of a file and the prefix of the keys that are the network's."""

    key: str
    prefix: str

    @property
    def rank(self) -> int:
        """Place among the usual names, of the one that is least usual; 0: nothing to choose."""
        names = [self.key.partition(".")[0], self.prefix.partition(".")[0]]
        places = {name: place for place, name in enumerate(_USUAL, 1)} | {"": 0}
        return max(places.get(name, len(_USUAL) + 1) for name in names)

    def __str__(self) -> str:
        prefix = f"what begins with {self.prefix!r}" if self.prefix else ""
        return " in ".join(part for part in (prefix, repr(self.key) if self.key else "") if part)


def state_for(module: nn.Module, path: str | Path) -> StateDict:
    """Return the weights in a file that are a network's, under the network's own names.

    Wrappers, prefixes and all else are taken off where one choice alone gives all weights,
    or one has the usual name; what was chosen is logged. Where none does, the fullest state dict
    comes without wrappers.

    Raises:
        ModelError: as `read_weights`; or several choices that would do.
    """
    states = read_weights(path)
    for wanted in _wanted(module):
        needed = _needed(wanted)
        fits = [
            _Choice(key, prefix)
            for key, state in states.items()
            for prefix, n in _prefixes(_by_plain_name(state), needed).items()
            if n == len(needed)
        ]
        if fits:
            return _taken(path, states, fits, wanted)
    own = _by_plain_name(module.state_dict())

    def fullness(state: StateDict) -> tuple[int, int]:
        return max(_prefixes(_by_plain_name(state), own).values(), default=0), len(state)

    fullest = max(states.values(), key=fullness)
    return {own.get(name, name): fullest[key] for name, key in _by_plain_name(fullest).items()}


def fill(module: nn.Module, path: str | Path, state: StateDict | None = None) -> nn.Module:
    """Return the module, with the weights of a file. Only BatchNorm's counters may be missing.

    state: the weights, where they have been read.

    Raises:
        ModelError: as `state_for`, or they do not fit.
    """
    state = state_for(module, path) if state is None else state
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    other = [
        f"{key} {tuple(value.shape)} for {shapes[key]}"
        for key, value in state.items()
        if key in shapes and tuple(value.shape) != shapes[key]
    ]
    if other:
        raise ModelError(
            f"{path} does not fit the model: it has {_listed(other)}; expected weights of the same "
            "architecture and number of classes"
        )
    try:
        result = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{path} does not fit the model: {one_line(error, 200)}") from error
    missing = [key for key in result.missing_keys if not _is_counter(key)]
    parts = [
        f"{what} {_listed(keys)}"
        for what, keys in (("lacks", missing), ("has the unknown", result.unexpected_keys))
        if keys
    ]
    if parts:
        advice = _advice(state, module)
        raise ModelError(
            f"{path} {' and '.join(parts)}; {advice or 'expected the weights of this model'}"
        )
    return module


def _taken(
    path: str | Path,
    states: Mapping[str, StateDict],
    fits: Iterable[_Choice],
    wanted: Mapping[str, str],
) -> StateDict:
    """Return the most usual of the choices, by the network's names; logs what else there was.

    wanted: the network's keys by plain name.
    """
    chosen, *others = sorted(fits, key=lambda choice: choice.rank)
    if others and others[0].rank == chosen.rank:
        raise ModelError(
            f"{path} holds several sets of weights that fit the model: "
            f"{_listed(map(str, (chosen, *others)))}; save the right one by itself: "
            "torch.save(STATE_DICT, FILE)"
        )
    state = states[chosen.key]
    mine, left_out = {}, []
    told = tuple(other.prefix for other in others if other.key == chosen.key)
    for name, key in _by_plain_name(state).items():
        if name.rpartition(".")[2] in _LEFT_BY_TOOLS and name not in wanted:
            continue
        if name.startswith(chosen.prefix):
            name = name.removeprefix(chosen.prefix)
            mine[wanted.get(name, name)] = state[key]
        elif not name.startswith(told):
            left_out.append(key)
    said = [f"took {chosen}"] if str(chosen) else []
    said += [f"not {_listed(map(str, others))}"] if others else []
    said += [f"left out {_listed(left_out)}"] if left_out else []
    if said:
        _log.warning("%s", printable(f"{path}: {', '.join(said)}"))
    return mine


def _wanted(module: nn.Module) -> Iterator[dict[str, str]]:
    """Yield a network's keys by plain name; then without the part that all begin with, and so on.

    A file may hold what a network wraps.
    """
    wanted = _by_plain_name(module.state_dict())
    while wanted:
        yield wanted
        if len({name.partition(".")[0] for name in wanted}) > 1:
            return
        wanted = {name.partition(".")[2]: key for name, key in wanted.items() if "." in name}


def _by_plain_name(keys: Collection[str]) -> dict[str, str]:
    """Return the keys by their names without wrappers, or by themselves where those collide."""
    plain = {".".join(p for p in key.split(".") if p not in _WRAPPERS): key for key in keys}
    return plain if len(plain) == len(keys) else {key: key for key in keys}


def _prefixes(names: Iterable[str], needed: Collection[str]) -> Counter[str]:
    """Return how many needed names stand behind each prefix."""
    return Counter(
        name[: len(name) - len(rest)] for name in names for rest in _ends(name) if rest in needed
    )


def _ends(name: str) -> Iterator[str]:
    """Yield a name, and what is left of it without its first part, and so on."""
    while name:
        yield name
        name = name.partition(".")[2]


def _needed(names: Iterable[str]) -> set[str]:
    return {name for name in names if not _is_counter(name)}


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _advice(state: Mapping[str, Tensor], module: nn.Module) -> str:
    """Return what the names tell of where the weights come from; "": nothing."""
    endings = {key.rpartition(".")[2] for key in state}
    for ending, remedy in (
        ("weight_mask", "prune.remove"),
        ("weight_g", "remove_weight_norm"),
        ("weight_u", "remove_spectral_norm"),
    ):
        if ending in endings:
            return f"save them after torch.nn.utils.{remedy} on each layer"
    if "_packed_params" in " ".join(state) or "zero_point" in endings:
        return "they are of a quantised network; expected those of the float one"
    names, needed = set(_by_plain_name(state)), _needed(_by_plain_name(module.state_dict()))
    for word, counts in (("without", _prefixes(names, needed)), ("with", _prefixes(needed, names))):
        for prefix, n in counts.most_common(1):
            if prefix and n >= len(needed) / 2:
                return f"{word} the prefix {prefix!r}, {n} of {len(needed)} would fit"
    return ""
