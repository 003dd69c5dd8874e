"""Methods as the command line of `bench` names them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from edge_tta.adapter import Adapter
from edge_tta.config import HOSTS, REFERENCE_BATCHES, MethodConfig, make_config
from edge_tta.errors import ConfigError
from edge_tta.guard import Guard
from edge_tta.probability import Threshold
from edge_tta.run.predictors import Predictors
from edge_tta.run.schedule import Schedule
from edge_tta.tasks import Classes, can_be_guarded
from edge_tta.temporal import Filtered

SYNTAX = "METHOD[:HOST][@PRESET][+FIELD=VALUE...][+every=K][+guard][+filter], or ablation:HOST"

GUARD = "guard"
"""In a field's place: the method runs in a guard (`edge_tta.guard`)."""

FILTER = "filter"
"""In a field's place: its answers are filtered over time (`edge_tta.temporal`)."""

EVERY = "every"
"""A field beside those of a configuration: the method adapts on every so many calls."""

SOURCE_BATCH = 64
"""Frames at a time of the source network, which predicts the same in any batch."""

_BATCH = {"smoothing": 0.0, "taylor": "none"}
_AT_ONCE = {"accumulation": 1, "weighting": "mean"}
_NO_PROXY = {"views": 0, "gradient": "calibrated"}
_ABLATION: dict[str, dict[str, Any]] = {
    "+DBC": {**_AT_ONCE, **_NO_PROXY},
    "+EWGA": {**_BATCH, **_NO_PROXY},
    "+DBC+EWGA": _NO_PROXY,
    "+DBC+EWGA+PCG": {},
}
"""Fields that each variant of the paper's Table 4 changes in the preset `paper`."""
SCALED = "scaled"
"""In a preset's place: the published learning rate, scaled to the batch size."""


def parse_methods(text: str, preset: str = "edge") -> dict[str, MethodConfig]:
    """Configurations by label, from names separated by commas.

    A name is METHOD[:HOST][@PRESET][+FIELD=VALUE...], such as `tent`, `nanoadapt:tent`,
    `nanoadapt:tent@paper` or `nanoadapt:tent+smoothing=0.95+views=3`. The same field with several
    values separated by `|` stands for one method each. `ablation:tent` stands for `tent`,
    `tent+DBC`, `tent+EWGA`, `tent+DBC+EWGA` and `tent+DBC+EWGA+PCG`, as in the paper's Table 4.

    A baseline that trains has no preset but `scaled`: `tent` takes the published learning rate as
    it is, `tent@scaled` takes N / N_0 of it in batches of N < N_0 frames, N_0 of
    `edge_tta.config.REFERENCE_BATCHES`.

    `METHOD...+every=K`, `+guard` and `+filter` have the configuration of `METHOD...`; `every_of`,
    `is_guarded` and `is_filtered` tell them apart.

    Raises:
        ConfigError: an unknown method, host, preset or field, or a value out of range.
    """
    configs: dict[str, MethodConfig] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name.partition(":")[0] == "ablation":
            configs.update(ablation(name.partition(":")[2]))
            continue
        for single in _spread(name):
            configs[single] = _parse(single, preset)
    if not configs:
        raise ConfigError(f"no method given; expected {SYNTAX}, separated by commas")
    return configs


def is_guarded(label: str) -> bool:
    """Return True where a label of `parse_methods` asks for the guard."""
    return GUARD in label.split("+")[1:]


def is_filtered(label: str) -> bool:
    """Return True where a label of `parse_methods` asks for the filter."""
    return FILTER in label.split("+")[1:]


def every_of(label: str) -> int:
    """Return on every how many calls a label of `parse_methods` adapts."""
    parts = (part.partition("=") for part in label.split("+")[1:])
    return next((int(value) for key, _, value in parts if key == EVERY), 1)


class Scheduled:
    """Adapts on every so many calls and predicts on the others, as `run --adapt-every` does.

    `--adapt async` does so where a step takes as long as so many frames, but that its state comes
    so many frames later.
    """

    def __init__(self, adapter: Adapter, every: int) -> None:
        self._adapter, self._schedule = adapter, Schedule(every)

    def __call__(self, images: Any, *, learn: bool = True) -> Any:
        """Return logits (N, classes) of images (N, channels, H, W)."""
        due = self._schedule.adapts
        self._schedule.took(0.0, due)
        return self._adapter(images, learn=learn) if due else self._adapter.predict(images)

    def reset(self) -> None:
        """Go back to the source."""
        self._adapter.reset()
        self._schedule = Schedule(self._schedule.every)


def predictor_of(
    adapter: Adapter, label: str, sure_above: Threshold | None = None
) -> tuple[Callable[..., Any], Guard | None]:
    """Return what answers images by a label: the adapter, in what the label says.

    Beside it the guard; None: there is none. sure_above: as of `edge_tta.temporal.Filtered`.

    Raises:
        ConfigError: a filter, and a task that has more than one class an image; a guard, and one
            of which nothing tells two networks apart.
    """
    task = adapter.task
    if is_guarded(label) and task is not None and not can_be_guarded(task):
        raise ConfigError(
            f"{label}: nothing in the outputs of task {task.name} tells how sure a network is; "
            f"leave +{GUARD} out of --methods"
        )
    if is_filtered(label) and task is not None and not task.filtered:
        raise ConfigError(
            f"{label}: the filter weighs one class a frame, and task {task.name} has more; leave "
            f"+{FILTER} out of --methods"
        )
    guard = Guard(adapter) if is_guarded(label) else None
    every = every_of(label)
    inner = guard or (adapter if every == 1 else Scheduled(adapter, every))
    if not is_filtered(label):
        return inner, guard
    return Filtered(inner, sure_above, of_source=adapter.config.method == "source"), guard


def prediction_of(adapter: Adapter, label: str) -> Callable[[Any], Any]:
    """Return what predicts and adapts nothing, in the filter that a label asks for.

    Raises ConfigError as `predictor_of`.
    """
    answers, _ = predictor_of(adapter, label)
    if not isinstance(answers, Filtered):
        return adapter.predict
    return lambda images: answers.update(images, adapter.predict(images))


def predictors_of(adapter: Adapter, label: str) -> Predictors:
    """Return what sees the frames of a run by a label, as `edge-tta run` makes it.

    Raises ConfigError as `predictor_of`.
    """
    classes = Classes(adapter.prepare(adapter.input_spec.shape))
    answers, guard = predictor_of(adapter, label)
    return Predictors(
        adapter,
        classes,
        guard=guard,
        by_filter=answers if isinstance(answers, Filtered) else None,
        compare=(),
        schedule=Schedule(every_of(label)),
    )


def ablation(host: str) -> dict[str, MethodConfig]:
    """The paper's Table 4: the host alone, and with parts of the preset `paper`, by label.

    A host that does not train has no gradient that EWGA or PCG could change: DBC is its only part.

    Raises:
        ConfigError: no such host.
    """
    if host not in HOSTS:
        raise ConfigError(f"unknown host in 'ablation:{host}'; expected one of {', '.join(HOSTS)}")
    configs = {host: make_config(host)}
    whole = make_config("nanoadapt", host, "paper")
    for parts, fields in _ABLATION.items():
        if whole.trains:
            configs[host + parts] = make_config("nanoadapt", host, "paper", **fields)
        elif parts == "+DBC":
            configs[host + parts] = whole
    return configs


def _spread(name: str) -> list[str]:
    """One name for each of the values that a field lists."""
    head, *fields = name.split("+")
    names = [head]
    for field in fields:
        key, equals, values = field.partition("=")
        names = [f"{n}+{key}{equals}{value}" for n in names for value in values.split("|")]
    return names


def _parse(name: str, preset: str) -> MethodConfig:
    head, *fields = name.split("+")
    method, _, own_preset = head.partition("@")
    overrides: dict[str, Any] = {}
    if GUARD in fields and method == "source":
        raise ConfigError(f"{name!r}: the source network needs no guard; leave +{GUARD} out")
    for field in fields:
        if field in (GUARD, FILTER):
            continue
        key, equals, value = field.partition("=")
        if not equals:
            raise ConfigError(f"{name!r} is not understood; expected {SYNTAX}")
        if key == EVERY:
            if not value.isdecimal() or int(value) < 2 or GUARD in fields:
                raise ConfigError(
                    f"{name!r}: +every=K takes a whole number from 2, and no +guard, which leaves "
                    "frames out itself"
                )
            continue
        if key in ("method", "host", "preset"):
            raise ConfigError(f"{key} is no field that {name!r} may set; expected {SYNTAX}")
        overrides[key] = _value(value)
    if own_preset == SCALED and method.partition(":")[0] != "nanoadapt":
        if method not in REFERENCE_BATCHES:
            raise ConfigError(
                f"{name!r}: only {', '.join(REFERENCE_BATCHES)} have a published learning rate to "
                "scale"
            )
        overrides.setdefault("reference_batch", REFERENCE_BATCHES[method])
    return make_config(method, preset=own_preset or preset, **overrides)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
