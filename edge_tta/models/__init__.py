"""Models as the command line names them, and weights files as people save them."""

from edge_tta.models.naming import Model, load_model
from edge_tta.models.weights import read_weights

__all__ = ["Model", "load_model", "read_weights"]
