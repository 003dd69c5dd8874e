"""A bundle's folded networks: predictions and observations at the speed of the frozen network."""

from __future__ import annotations

import threading
from typing import Any

from edge_tta import nest
from edge_tta.bundle.folder import Bundle
from edge_tta.bundle.folding import MEASURED_CENTRE, FoldedSession, UnsuitableError
from edge_tta.bundle.int8 import Int8Session
from edge_tta.bundle.manifest import NEW, output_names
from edge_tta.bundle.records import FoldedRecord
from edge_tta.bundle.runtime import Session
from edge_tta.checkpoint import Arrays
from edge_tta.errors import BundleError
from edge_tta.prepare import Images

_Key = tuple[Any, ...]
"""The arrays of a state that decide what is folded; no array of a method that never changes."""


class FoldedNetwork:
    """One method of a bundle, its state folded into the network's weights where that changes.

    Once another state is predicted, the source has a network of its own, so that it costs no
    folding beside the adapted one. In int8 all share one, and in the profile `memory` that observes
    too.

    Args:
        source: the state before the first frame.

    Raises:
        UnsuitableError: not with this onnxruntime.
        BundleError: the bundle is damaged.
    """

    def __init__(self, bundle: Bundle, record: FoldedRecord, source: Arrays) -> None:
        self._bundle, self._record = bundle, record
        # Of vectors: a second thread has nothing to do there, and waits on a core of the network's.
        self._small = bundle.with_threads(1)
        self._fold: Any = self._small.session(record.fold)
        self._of_state = [item.name for item in self._fold.get_inputs()]
        self._vectors = [item.name for item in self._fold.get_outputs()]
        # What the latest observation has told of the state after it.
        self._latest: tuple[_Key | None, dict[str, Any]] = None, {}
        self._lock = threading.Lock()
        self._source_state = self._key(source)
        self._source: _Loaded | None = None
        # The one that predicts, and the one for the next state.
        self._adapted: list[_Loaded] = []
        self._measuring: _Loaded | None = None
        self._calibrate: Any = None
        self._int8: dict[str, Session] = {}

    def load(self, *, observing: bool, spare: bool = False) -> None:
        """Load what the first frame needs: to observe it, or to predict.

        spare: another thread will make the next state ready.
        """
        if observing:
            self._load_measuring()
            return
        while len(self._adapted) < 1 + spare:
            self._adapted.append(self._loaded(self._record.network))

    def predict(self, images: Images, state: Arrays) -> Any:
        """Return outputs at a state."""
        form = self._bundle.manifest.form
        values = self._with(state).session.run(images)
        return nest.built(form, values[: len(output_names(form))])

    def observe(self, images: Images, state: Arrays) -> tuple[Any, Arrays]:
        """Return outputs and new state."""
        form, measuring = self._bundle.manifest.form, self._load_measuring()
        self._bring(measuring, state)
        values = measuring.session.run(images)
        measured = dict(zip(measuring.session.names, values, strict=True))
        measured |= {MEASURED_CENTRE: measuring.centre, **state}
        given = {item.name: measured[item.name] for item in self._calibrate.get_inputs()}
        names = [item.name for item in self._calibrate.get_outputs()]
        answers = dict(zip(names, self._calibrate.run(names, given), strict=True))
        vectors = {name: answers.pop(name) for name in self._vectors}
        new = {**state, **{name.removeprefix(NEW): value for name, value in answers.items()}}
        self._latest = self._key(new), vectors
        return nest.built(form, values[: len(output_names(form))]), new

    def ready(self, state: Arrays) -> None:
        """Fold a state into a network that does not predict, while another thread may predict."""
        key = self._key(state)
        with self._lock:
            ready = (self._source_state, *(loaded.state for loaded in self._adapted))
            if any(_same(held, key) for held in ready):
                return
            spare = self._adapted.pop() if len(self._adapted) > 1 else None
        if spare is None:
            spare = self._loaded(self._record.network)
        self._bring(spare, state)
        with self._lock:
            self._adapted.append(spare)

    def _with(self, state: Arrays) -> _Loaded:
        """Return a network that has a state in it; until the next call `ready` leaves it alone."""
        key = self._key(state)
        if _same(self._source_state, key) and self._predicted_another():
            if self._source is None:
                self._source = self._taken(key) or self._loaded(self._record.network)
            self._bring(self._source, state)
            return self._source
        with self._lock:
            for loaded in self._adapted:
                if _same(loaded.state, key):
                    self._adapted.sort(key=lambda other: other is not loaded)
                    return loaded
            loaded = self._adapted[0] if self._adapted else self._loaded(self._record.network)
            self._adapted[:1] = [loaded]
        self._bring(loaded, state)
        return loaded

    def _taken(self, key: _Key) -> _Loaded | None:
        """Take the network that has a state out of those for adapted ones; None: none has it."""
        with self._lock:
            held = next((loaded for loaded in self._adapted if _same(loaded.state, key)), None)
            if held is not None:
                self._adapted.remove(held)
        return held

    def _predicted_another(self) -> bool:
        """Tell whether the latest prediction was at another state than the source's."""
        with self._lock:
            state = self._adapted[0].state if self._adapted else None
        return state is not None and not _same(self._source_state, state)

    def _load_measuring(self) -> _Loaded:
        assert self._record.calibrate is not None
        assert self._record.measuring is not None
        if self._measuring is None:
            self._measuring = self._loaded(self._record.measuring)
            self._calibrate = self._small.session(self._record.calibrate)
        return self._measuring

    def _bring(self, loaded: _Loaded, state: Arrays) -> None:
        """Fold a state into a network, which may have it already."""
        key = self._key(state)
        if not _same(loaded.state, key):
            of, vectors = self._latest
            if not _same(of, key):
                given = dict(zip(self._of_state, key, strict=True))
                values = self._fold.run(self._vectors, given)
                vectors = dict(zip(self._vectors, values, strict=True))
            loaded.session.fold(vectors)
            loaded.state, loaded.centre = key, vectors["centre"]

    def _key(self, state: Arrays) -> _Key:
        """Return the arrays that decide: a new state has new ones where it differs."""
        return tuple(state[name] for name in self._of_state)

    def _loaded(self, graph: str) -> _Loaded:
        if not self._record.int8:
            return _Loaded(FoldedSession(self._bundle.folder / graph, self._bundle.threads))
        if self._bundle.profile == "memory":
            graph = self._record.measuring or graph
        if graph not in self._int8:
            try:
                self._int8[graph] = self._bundle.session(graph, int8=True)
            except BundleError as error:
                raise UnsuitableError(str(error)) from error
        return _Loaded(Int8Session(self._int8[graph]))


class _Loaded:
    """A network, the arrays of the state in its weights, None at first, and its `centre`."""

    def __init__(self, session: FoldedSession | Int8Session) -> None:
        self.session = session
        self.state: _Key | None = None
        self.centre: Any = None


def _same(one: _Key | None, other: _Key | None) -> bool:
    """Tell whether two states are of these very arrays; None is no state."""
    if one is None or other is None:
        return False
    return all(a is b for a, b in zip(one, other, strict=True))
