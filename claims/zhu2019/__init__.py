"""Claims of zhu2019: the anisotropic noise of SGD, and how it escapes from sharp minima.

- `escape`, `double_well`: Eqs. (7)-(13), the Ornstein-Uhlenbeck process and what noise does elsewhere
- `alignment`: Proposition 1 and the indicator Tr(HΣ); `curvature`: Propositions 2 and 3, Eq. (18)
- `toy`: the two-basin toy and Figure 2; `experiments`: Table 1 and what the experiments rest on
- `networks`: Figures 3, 5, 7 and 8, with PyTorch
"""
