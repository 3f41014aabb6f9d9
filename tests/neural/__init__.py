"""Tests of the PyTorch layer."""
