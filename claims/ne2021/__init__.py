"""Claims of ne2021: noise enhancement for large batches.

- `enhancement`: Eqs. (4)-(11), Definition 1, Tables 2 and 3
- `diffusion`: SVAG, and where noise drives
"""
