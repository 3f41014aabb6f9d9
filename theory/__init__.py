"""What should happen: closed forms, exact moments and bounds. No randomness, no I/O."""
