"""Claims of wu2020: noisy gradient descent that generalises as SGD, whatever the class of its noise.

- `sampling`: Eqs. (1) and (2), Sections 4.2 to 4.5, Algorithm 2
- `cost`: Section 4.1, what a step of each noise costs
- `least_squares`: Theorem 1 and its assumptions
- `networks`: Figure 1 and "Gaussian is faster", with PyTorch
"""
