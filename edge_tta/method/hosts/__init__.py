"""Hosts: methods that train, each by its loss L_o (NanoAdapt Eq. 9), alone or within NanoAdapt.

A module here is a host of that name: `make(config)` gives its `Host`. The method's constants are in
`edge_tta.config.methods`, by the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from edge_tta.config import LayersConfig, LossConfig
from edge_tta.errors import ConfigError
from edge_tta.method.hosts.base import Host, HostLoss, SecondPass
from edge_tta.method.state import parameter_names
from edge_tta.network.folding import first_of
from edge_tta.network.program import Site


def make_host(name: str, table: LossConfig) -> Host:
    """Return a host by name, but `norm`, which trains nothing.

    Raises:
        ConfigError: no module here has that name.
    """
    module = f"{__name__}.{name}"
    try:
        host: Host = import_module(module).make(table)
    except ModuleNotFoundError as error:
        if error.name != module:  # one that the host imports
            raise
        file = f"edge_tta/method/hosts/{name.replace('-', '_')}.py"
        raise ConfigError(
            f"no module for the host {name!r}; expected the file {file}, and in "
            "edge_tta/config/methods.py its name without .py"
        ) from error
    return host


def trained_sites(sites: Sequence[Site], table: LayersConfig, host: Host) -> list[Site]:
    """Return the sites whose parameters train: of the host's, the last ones, from a layer on.

    Raises:
        ModelError: the network has no layer `adapt_from`.
    """
    first = first_of(sites, table.adapt_from)
    own = [site for site in host.sites(sites) if parameter_names(site, table.train)]
    deep = own[-table.trained(len(own)) :]  # all, if 0
    return [site for site in deep if site.index >= first]


__all__ = ["Host", "HostLoss", "SecondPass", "make_host", "trained_sites"]
