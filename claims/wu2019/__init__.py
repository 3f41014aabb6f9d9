"""Claims of wu2019: multiplicative noise, a gradient matrix times a sampling vector.

- `sampling`: Proposition 1 and the sampling vectors; `algorithm`: Algorithm 1
- `complexity`: Theorem 1 and Eq. (8)
- `weak`: Theorem 2; `strong`, `strong_bound`: Theorem 3 and its constants
- `networks`: Figure 1, Algorithm 1 and Eq. (17), with PyTorch
"""
