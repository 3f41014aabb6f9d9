"""Claims of zhu2019: the anisotropic noise of SGD, and how it escapes from sharp minima.

- `noise`: Section 2, the covariance of SGD's noise, its magnitude and the SDE
- `double_well`, `ito`: Definition 1 and Eq. (11), on any minimum; `escape`: Eq. (13), the Ornstein-Uhlenbeck process
- `alignment`: the indicator Tr(HΣ); `proposition1`: Proposition 1, and where its conditions are met
- `fisher`, `proposition2`, `proposition3`: Section 4, Eq. (18) and the network of Figure 4; `clipped`: where it is tried
- `toy`, `figure2`: the two-basin toy; `experiments`: Table 1 and what the experiments rest on
- `networks`: Figures 3, 5, 7 and 8, with PyTorch
"""
