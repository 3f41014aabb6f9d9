"""``python -m gradnoise`` is the command ``gradnoise``."""

from gradnoise.cli.main import main

main()
