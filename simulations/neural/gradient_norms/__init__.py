"""Exact squared norms of the gradients of all samples, of which none is held.

- `squared_gradient_norms` takes a forward and two backward passes over some samples; `GradientNorms` is its result.

Inside, `parameter_uses` reads from autograd's graph where each parameter was used and which rows belong to which sample, and
`layer_rules` says what such a use means for a sample's gradient, and `outer_products` forms the norms. What has no rule is taken
one sample at a time.
"""

from gradnoise.simulations.neural.gradient_norms.sample_norms import GradientNorms, squared_gradient_norms

__all__ = ["GradientNorms", "squared_gradient_norms"]
