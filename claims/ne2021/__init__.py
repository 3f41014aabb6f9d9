"""Claims of ne2021: noise enhancement for large batches.

- `enhancement`: Eqs. (4)-(11) and footnote 5, the noise of two minibatches and the batch that it is the noise of
- `tables`: what Tables 2 and 3 establish, and how the best batch scales
- `costs`: gradients and steps that enhancement takes; `adam`: what Adam makes of it
- `wells`: where noise drives (Section 4); `diffusion`: SVAG
"""
