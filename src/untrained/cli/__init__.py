"""The command line: thin, calls the library. Torch is imported by the commands alone."""

# Importing a file of commands adds them to the app.
from untrained.cli import searches as searches
from untrained.cli import tickets as tickets
from untrained.cli.app import app as app
from untrained.cli.app import main as main
from untrained.wann.cli import app as wann

app.command(wann)
