"""Folded graphs in int8: a pass over the ONNX graphs of `export.graph.in_place`.

Codes are 8 bits: q = round(x / scale) + zero, of activations with one scale a tensor, of weights
one for each output channel. Activations' scales come from their range over frames (`ranges`).
A BatchNorm's scale and bias are no part of a weight here, but of its requantisation (`vectors`), so
that a state changes vectors and no weight (`quantising`):

    folded    codes of y = scale W a + bias: requantised by s_a s_W scale; an activation behind is
              where they end
    centre    codes of u = W a + centre, each channel in a unit of its own; as float32 numbers they
              are measured, and y = (scale unit) (u / unit) + shift

`scale`, `bias`, `shift`, `centre` and `deviation` of all sites are inputs of the graph. Additions,
max pools and layers of all features have codes too; what else there is, has float32 between its
operators.
"""

from export.graph.int8.quantising import int8_graph
from export.graph.int8.ranges import ranges_of

__all__ = ["int8_graph", "ranges_of"]
