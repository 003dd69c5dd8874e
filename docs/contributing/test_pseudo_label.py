"""Pseudo-labels against a loop over images."""

from __future__ import annotations

import torch

from edge_tta.method.hosts.pseudo_label import CONFIDENCE, loss


def test_the_loss_is_the_mean_cross_entropy_of_sure_images_with_their_predicted_class() -> None:
    torch.manual_seed(0)
    logits = (3 * torch.randn(20, 4, dtype=torch.float64)).requires_grad_()
    sure = []
    for row in logits:
        p = row.softmax(0)
        if p.max() >= CONFIDENCE:
            sure.append(-p[p.argmax()].log())
    assert 0 < len(sure) < len(logits)
    wanted, actual = torch.stack(sure).mean(), loss(logits, {}).losses.mean()
    torch.testing.assert_close(actual, wanted)
    (wanted_gradient,) = torch.autograd.grad(wanted, logits)
    (actual_gradient,) = torch.autograd.grad(actual, logits)
    torch.testing.assert_close(actual_gradient, wanted_gradient)
