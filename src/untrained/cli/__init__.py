"""The command line, a thin layer over the library. Torch is imported by the commands alone."""

# Importing a file of commands adds them to the app.
from untrained.cli import completion as completion
from untrained.cli import playground as playground
from untrained.cli import predict as predict
from untrained.cli import search as search
from untrained.cli import ticket as ticket
from untrained.cli.app import app as app
from untrained.cli.app import main as main
from untrained.cli.bank import app as bank
from untrained.cli.wann import app as wann

app.command(wann)
app.command(bank)
