"""Hosts: methods that train, each by its loss L_o (NanoAdapt Eq. 9), alone or within NanoAdapt.

A module here is a host of that name: `make(config)` gives its `Host`. The method's constants, and
its name among HOSTS, are in `edge_tta.config.methods`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from edge_tta.config import LayersConfig, LossConfig
from edge_tta.method.hosts.base import Host, HostLoss, SecondPass
from edge_tta.network.folding import first_of
from edge_tta.network.program import Site


def make_host(name: str, table: LossConfig) -> Host:
    """Return a host by name, but `norm`, which trains nothing."""
    host: Host = import_module(f"{__name__}.{name}").make(table)
    return host


def trained_sites(sites: Sequence[Site], table: LayersConfig, host: Host) -> list[Site]:
    """Return the sites whose parameters train: of the host's, the last `depth`, from a layer on.

    Raises:
        ModelError: the network has no layer `adapt_from`.
    """
    first = first_of(sites, table.adapt_from)
    deep = host.sites(sites)[-table.depth :]  # all, if 0
    return [site for site in deep if site.index >= first]


__all__ = ["Host", "HostLoss", "SecondPass", "make_host", "trained_sites"]
