"""The lean executor: a program rewritten so that little is saved for the backward pass.

    convolutions, average pools     keep shapes
    BatchNorm and its activation    one code a value (`edge_tta.network.lean.batch_norm`)
    addition and ReLU behind one    the same code, marked where the ReLU is off
    other ReLUs                     one bit a value
    max pools                       one byte a window; in front of them all, where nothing below
                                    trains, the maxima alone
    gates, other activations        codes of their factors, or input
    additions, concatenations       nothing, as in PyTorch

Everything else stays as it is, and so does every result but for rounding. Images are laid out
channels last, which is faster on the processors measured; convolutions keep it up.
"""
