"""``python -m scheduler.planning``."""

from scheduler.planning.cli import app

app(prog_name="python -m scheduler.planning")
