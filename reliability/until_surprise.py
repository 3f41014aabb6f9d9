"""Verify claims with their corrections one by one, in the order in which they are given, and end at the first surprise.

``python until_surprise.py ID...`` ends with 1 there, and with 0 behind the last.
"""

from __future__ import annotations

import sys

from gradnoise.claims import registry


def main(ids: list[str]) -> int:
    """Judge claims, corrections and twins; where a paper errs, the correction is what the theory computes."""
    statements = registry.claim_ids()
    for id in ids:
        if not (report := registry.verify([s for s in statements if s in (id, f"{id}.corrected")], sabotage=True)).as_expected:
            print(report)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
