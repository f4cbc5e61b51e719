"""The app of the command line: settings files, and errors of one line."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, ArgumentCollection, CycloptsError, Parameter
from cyclopts.config import Toml

from untrained._version import __version__
from untrained.runs.settings import read_toml
from untrained.search.run_files import CONFIG, PART
from untrained.terminal.extras import install_command
from untrained.terminal.renderings import to_json
from untrained.terminal.text import printable, shorten

CONFIG_HELP = "TOML file with any of these settings, such as a run's config.toml; flags given here win over it."

# The flag --json of a command, which then returns its results; `main` prints them.
AsJson = Annotated[
    bool, Parameter(name="--json", help="Print one JSON document alone; all else goes to standard error.")
]

_LONGEST = 1_000  # characters of an error that are printed
# Parts of torch's RuntimeErrors.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
_NO_SPACE = ("inline_container.cc", "PytorchStreamWriter")


def no_picture() -> str:
    """Say why there is no picture, and what to install."""
    return f"none: it needs matplotlib ({install_command('plot')})"


app = App(
    name="untrained",
    version=__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    help="""Find subnetworks that work inside networks whose weights are never trained.

    A found network is a ticket: one seed and about one bit per weight.

    ```
    untrained find                     search on the embedded digits
    untrained info   RUN/found.ticket  kept weights and bytes
    untrained eval   RUN/found.ticket  its accuracy
    untrained predict RUN/found.ticket FILE…    classes of pictures, arrays or rows
    untrained verify RUN/found.ticket  draw every weight again and check
    untrained bench  RUN/found.ticket  its time per batch, dense and packed
    untrained report RUN               one page about a run, for your browser
    untrained export RUN/found.ticket --to html    a page that runs it and lets you draw
    untrained compare                  every method on the same network
    untrained sweep  --keep 0.1,0.5    accuracy over keep, width or weights
    untrained frontier                 tickets and trained networks over their bytes
    untrained bank                     many tasks on one network, in one file
    untrained playground               find and evolve networks in your browser
    untrained wann                     networks whose connections share one weight
    ```

    An error is one line, and the exit code is 2; `--traceback` shows where it comes from. With `--json` most commands
    print one JSON document for programs, with null for what is not a finite number.
    """,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error is one line on standard error and exit code 2, or with `--traceback` raised."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    shows = "--traceback" in arguments
    arguments = [argument for argument in arguments if argument != "--traceback"]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ± and × shows question marks
    format_before, warnings.formatwarning = warnings.formatwarning, _format_warning
    try:
        _refuse_empty(arguments)
        app.config = _find_config(arguments)
        _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk is still an error
    except BrokenPipeError:  # the reader closed the pipe
        _forget_output()
    except KeyboardInterrupt as interrupt:
        print(f"\nuntrained: {printable(str(interrupt) or 'interrupted')}", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if shows:
            raise
        print(f"untrained: {_one_line(error)}", file=sys.stderr)
        _forget_output()
        sys.exit(2)
    finally:
        app.config = ()  # the next call has another settings file
        warnings.formatwarning = format_before


def _run(arguments: Sequence[str]) -> None:
    """Run a command; with --json print what it returns, and what it prints itself on standard error."""
    quiet: dict[str, Any] = {"exit_on_error": False, "print_error": False}
    _, bound, _ = app.parse_args(arguments, **quiet)
    if not bound.arguments.get("as_json", False):
        app(arguments, **quiet, result_action="return_value")
        return
    with contextlib.redirect_stdout(sys.stderr):
        results = app(arguments, **quiet, result_action="return_value")
    print(to_json(results))


def _one_line(error: Exception) -> str:
    """Return an error and its notes as one line, with a hint unless the input or the machine is the cause."""
    text = printable(shorten(" ".join((str(error), *getattr(error, "__notes__", ()))), _LONGEST))
    from_torch = isinstance(error, RuntimeError)
    if isinstance(error, MemoryError) or (from_torch and any(part in text for part in _NO_MEMORY)):
        return f"not enough memory: {text}" if text else "not enough memory"
    if from_torch and any(part in text for part in _NO_SPACE):
        return f"a file could not be written whole: {text}"
    if isinstance(error, (CycloptsError, ValueError, OSError, ImportError)) and text:
        return text
    hint = "unexpected; --traceback shows where from: if that is untrained, please report it"
    return f"{type(error).__name__}: {text or 'no message'} ({hint})"


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"untrained: warning: {printable(' '.join(str(message).split()))}\n"


def _forget_output() -> None:
    """Drop output that is not printed yet, which Python would print again at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no such file, closed, or None
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an empty argument: an unset variable of the shell, which as a path would be this folder."""
    for number, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        before = arguments[number - 1] if number else ""
        if not argument and before != "--methods":  # the twin and the random networks alone
            raise ValueError(f"{before if before.startswith('-') else 'an argument'} is empty: expected a value")
        if equals and not value and flag.startswith("--") and flag != "--methods":
            raise ValueError(f"{flag} is empty: expected a value")


def _find_config(arguments: Sequence[str]) -> tuple[Toml | Callable[..., None], ...]:
    """Return the settings file of --config, or of the run to resume or merge, before the flags are parsed."""
    path = _find_value("--config", arguments)
    if path is None and (own := _find_own_config(arguments)) is not None and own.is_file():
        path = str(own)
    if path is None:
        return ()
    if not Path(path).is_file():
        raise ValueError(f"--config: no such file: {path!r}")
    if read_toml(Path(path)).get("objects"):
        raise ValueError(f"{path} is of a run with objects of Python: go on with it, or repeat it, by ut.compare")
    return (Toml(path, must_exist=True, use_commands_as_keys=False), _refuse_code)


def _find_own_config(arguments: Sequence[str]) -> Path | None:
    """Return the place of the settings of the run to resume or merge; None without --resume and --merge."""
    if (folder := _find_value("--merge", arguments)) is not None:
        from untrained.experiments.parts import folders_in

        return folders_in([Path(folder).expanduser()])[0] / CONFIG
    if "--resume" not in arguments or (out := _find_value("--out", arguments)) is None:
        return None
    cell = _find_value("--cell", arguments)
    return Path(out, *([] if cell is None else [PART.format(*cell.split("/", 1), "")])) / CONFIG


def _refuse_code(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse code that a file of settings names: a file may come from anywhere, a flag comes from the user."""
    from untrained.experiments.by_name import names_code

    for argument in arguments:
        given = [token.value for token in argument.tokens if token.source != "cli"]
        if argument.name in ("--method", "--methods", "--model", "--loss", "--metric"):
            own = names_code(given)
        elif argument.name == "--data":  # a folder's name may have a colon, and a folder is never run
            own = names_code(value for value in given if not Path(value).expanduser().is_dir())
        else:  # the module of an environment, gym:MODULE:ID
            gym = [value for value in given if value.startswith("gym:")]
            own = argument.name == "--task" and any(value.count(":") > 1 for value in gym)
        if own:
            flags = shlex.join(word for value in given for word in (argument.name, value))
            raise ValueError(
                f"{argument.tokens[0].source} names code, and code that a file names is not run; if you trust it, "
                f"add {flags}"
            )


def _find_value(flag: str, arguments: Sequence[str]) -> str | None:
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == flag:
            return value if equals else next(iter(arguments[number + 1 :]), "")
    return None
