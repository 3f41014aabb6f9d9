"""Where the two meet: each claim states, predicts, measures, and is judged."""
