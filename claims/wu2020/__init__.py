"""Claims of wu2020: noisy gradient descent that generalises as SGD, whatever the class of its noise.

- `noise_class`: Section 2, Eqs. (1) and (2), and the class of the noise of SGD
- `risk_bound`: Theorem 1; `least_squares`: its assumptions, equal risks, and whose fall faster
- `cost`: Section 4.1, what a step of each noise costs
- `sampling`: Sections 4.3 and 4.4; `minibatch`: Section 4.5, Algorithm 2
- `networks`: Figure 1 and "Gaussian is faster", with PyTorch
"""
