"""A fusion that does not fire in one layer, and nobody says so: that layer's norm has another epsilon."""

from __future__ import annotations

from _decoder import Norm, decoder, show
from norm_pattern import norm_fusion

if __name__ == "__main__":
    model = decoder()
    model.layers[1].norm_2 = Norm(epsilon=1e-5)
    show(model, {"post_grad_passes": (norm_fusion,)})
