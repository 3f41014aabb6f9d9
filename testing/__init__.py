"""Tests for other people's code: what gradnoise asks of theorems, as cases of their own test suites.

- `claim_test` makes cases for pytest of a file of claims: a case for each statement, and one for each of its twins.
"""

from gradnoise.testing.claim_cases import claim_test

__all__ = ["claim_test"]
