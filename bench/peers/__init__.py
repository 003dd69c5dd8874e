"""Methods of others, to compare with: written here from the paper, or their authors' own code."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_tta.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from edge_tta.models import Model

STOCK = {
    "forward-stock": "StockForward",
    "tent-stock": "StockTent",
    "tent-checkpoint": "checkpointed_tent",
}
"""Names in `bench.peers.stock` by the names that `--peers` takes."""


class Method(NamedTuple):
    """A method that a repository holds.

    Attributes:
        repository: its owner and name on GitHub.
        builder: name in `bench.peers.repositories` of what makes it.
        name: as its authors call it.
    """

    repository: str
    builder: str
    name: str = "tent"


UNITTA = "LeapLabTHU/UniTTA"
_OF_UNITTA = ("rotta", "note", "tribe", "tribe_bbn", "unmixtns", "unitta_cofa", "unitta")
REPOSITORIES = {
    "DequanWang/tent": Method("DequanWang/tent", "tent"),
    "mariodoebler/test-time-adaptation": Method(
        "mariodoebler/test-time-adaptation", "test_time_adaptation"
    ),
    "plutonium-239/memsave_torch": Method("plutonium-239/memsave_torch", "memsave"),
    **{f"UniTTA/{name}": Method(UNITTA, "unitta", name) for name in _OF_UNITTA},
}
"""Methods of repositories by the names that `--peers` takes."""


@dataclass(frozen=True)
class Peer:
    """A method of others.

    Attributes:
        name: among STOCK or REPOSITORIES.
        folder: of its repository's checked-out copy; None: of STOCK.
    """

    name: str
    folder: str | None = None

    @property
    def method(self) -> str:
        """Return the method's name, as its authors call it."""
        stock = self.folder is None
        return self.name.partition("-")[0] if stock else REPOSITORIES[self.name].name

    def build(self, model: Model, device: torch.device) -> Any:
        """Return what gives logits for normalised images, and adapts, on a copy of a network.

        It has `model` and `optimizer`, and tells `on_stage`.

        Raises:
            ModelError: a folder that is no copy of the repository, or a network it cannot take.
        """
        if self.folder is None:
            stock = import_module("bench.peers.stock")
            return getattr(stock, STOCK[self.name])(model.module, device)
        method = REPOSITORIES[self.name]
        build = getattr(import_module("bench.peers.repositories"), method.builder)
        return build(method.name, Path(self.folder), model, device)


def parse_peers(text: str) -> dict[str, Peer]:
    """Return peers by name, from NAME or NAME=FOLDER separated by commas.

    A repository's owner and name stand for all methods that it holds. `none`: no peers.

    Raises:
        ConfigError: an unknown peer, or a public repository without its folder.
    """
    peers: dict[str, Peer] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part == "none":
            continue
        name, _, folder = part.partition("=")
        methods = [key for key, of in REPOSITORIES.items() if name in (key, of.repository)]
        if methods and not folder:
            repository = REPOSITORIES[methods[0]].repository
            raise ConfigError(
                f"peer {name} needs a checked-out copy: git clone https://github.com/{repository}, "
                f"then --peers {name}=FOLDER"
            )
        if not methods and (folder or name not in STOCK):
            raise ConfigError(f"unknown peer {part!r}; expected {', '.join(known_peers())}")
        for method in methods:
            peers[method] = Peer(method, folder)
        if not methods:
            peers[name] = Peer(name)
    return peers


def known_peers() -> list[str]:
    """Return the forms of a peer that `parse_peers` takes."""
    repositories = dict.fromkeys(method.repository for method in REPOSITORIES.values())
    single = [name for name, method in REPOSITORIES.items() if name != method.repository]
    return [*STOCK, *(f"{name}=FOLDER" for name in (*repositories, *single)), "none"]
