"""The front door: the command `gradnoise`."""
