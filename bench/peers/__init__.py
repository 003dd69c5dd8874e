"""Methods of others, to compare with: written here from the paper, or their authors' own code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.peers.repositories import REPOSITORIES
from bench.peers.stock import STOCK
from edge_tta.errors import ConfigError
from edge_tta.models import Model

__all__ = ["REPOSITORIES", "STOCK", "Peer", "known_peers", "parse_peers"]


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
        return "tent" if self.folder is None else REPOSITORIES[self.name].name

    def build(self, model: Model, device: torch.device) -> Any:
        """Return what gives logits for normalised images, and adapts, on a copy of a network.

        It has `model` and `optimizer`, and tells `on_stage`.

        Raises:
            ModelError: a folder that is no copy of the repository, or a network it cannot take.
        """
        if self.folder is None:
            return STOCK[self.name](model.module, device)
        return REPOSITORIES[self.name].build(Path(self.folder), model, device)


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
