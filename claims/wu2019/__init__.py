"""Claims of wu2019: multiplicative noise, a gradient matrix times a sampling vector.

- `sampling`: Proposition 1 and other sampling vectors of known covariance
- `complexity`: Eq. (8), Theorem 1 (1) and the lemma it rests on; `sgd_complexity`: Theorem 1 (2)
- `weak`: Theorem 2; `strong`, `strong_bound`: Theorem 3 and its constants
- `algorithm`: Algorithm 1; `gaussian_noise`: Eqs. (15) and (17); `independent`: Bernoulli weights
- `networks`: Figure 1, Algorithm 1 and Eq. (17), with PyTorch
"""
