"""What it looks like: one file per figure of a paper."""
