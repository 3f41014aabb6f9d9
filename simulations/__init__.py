"""What does happen: Numba Monte Carlo, the ensemble driver, and the statistics of samples."""
