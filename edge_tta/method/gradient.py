"""Gradients through the statistics of a BatchNorm (NanoAdapt Eq. 10-12: PCG, with
`edge_tta.views`; autograd computes Eq. 10 along them).

All compute the same output, x normalised with the calibrated statistics; they differ in what
the backward pass sees. (The paper's Eq. 10 misprints: dL/d var lacks a minus sign and dL/dx^_i has
a sum too many; autograd on the forward formula is what is meant.)
"""

from __future__ import annotations

from collections.abc import Callable

from edge_tta.network.kernels import Moments

GradientPath = Callable[[Moments, Moments, float], Moments]
"""Of the batch's moments, the calibrated statistics, (C,) each, and eps: the same statistics, with
the gradient's way through them."""


def as_blended(batch: Moments, calibrated: Moments, eps: float) -> Moments:
    """Return Eq. 5 as it stands: the batch's statistics carry 1 - m of the gradient."""
    return calibrated


def proxy(batch: Moments, calibrated: Moments, eps: float) -> Moments:
    """Return Eq. 12: calibrated values forward, backward as if they were the batch's own."""
    return (
        calibrated[0].detach() + (batch[0] - batch[0].detach()),
        calibrated[1].detach() + (batch[1] - batch[1].detach()),
    )


def renormalised(batch: Moments, calibrated: Moments, eps: float) -> Moments:
    """Return DELTA's TBR: backward as of x^ = (x - mu_B) / sigma_B r + d with r and d constants.

    r = sg(sigma_B) / sigma, d = sg(mu_B - mu) / sigma, mu and sigma the calibrated ones,
    sg: stop gradient. The same as (x - mean) / sd with sd = sigma sigma_B / sg(sigma_B) and
    mean = mu_B - sg(mu_B - mu) sigma_B / sg(sigma_B), whose values are sigma and mu.
    """
    (offset, variance), (fixed, spread) = batch, (calibrated[0].detach(), calibrated[1].detach())
    moved = (variance - variance.detach()) / (variance.detach() + eps)  # zero; d log(var + eps)
    return (
        fixed + (offset - offset.detach()) - (offset.detach() - fixed) * (moved / 2),
        spread + (spread + eps) * moved,
    )


PATHS: dict[str, GradientPath] = {
    "calibrated": as_blended,
    "proxy": proxy,
    "renormalised": renormalised,
}
"""By the configuration's `gradient`; with `constant` there is no path."""
