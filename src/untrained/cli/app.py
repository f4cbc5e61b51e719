"""The command line itself: its name, its file of settings, and what it says when something is wrong."""

from __future__ import annotations

import os
import shlex
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from cyclopts import App, ArgumentCollection, CycloptsError, Parameter
from cyclopts.config import Toml

from untrained._version import __version__
from untrained.cli.printing import printable

CONFIG_HELP = "TOML file with any of these settings, such as a run's config.toml; flags given here win over it."

app = App(
    name="untrained",
    version=__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    help="""Find subnetworks that work inside networks whose weights are never trained.

    A found network is a ticket: one seed and about one bit per weight.

    ```
    untrained find                     search on the embedded digits
    untrained info   RUN/found.ticket  what it keeps, and what it costs
    untrained eval   RUN/found.ticket  its accuracy
    untrained verify RUN/found.ticket  draw every weight again and check
    untrained bench  RUN/found.ticket  how fast it runs, packed and not
    untrained report RUN               one page about a run, for your browser
    untrained export RUN/found.ticket --to html    a page that runs it and lets you draw
    untrained compare                  every method on the same network
    untrained sweep  --keep 0.1,0.5    accuracy over keep, width or weights
    untrained wann                     networks whose connections share one weight
    ```
    """,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what the user got wrong is one line on standard error and exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app.config = _config_of(arguments)
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except BrokenPipeError:  # whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as interrupt:
        print(f"\nuntrained: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        sys.exit(130)
    except (CycloptsError, ValueError, OSError, ImportError) as error:
        print(f"untrained: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        sys.exit(2)
    finally:
        app.config = ()  # one call's file of settings is none of the next one's


def _config_of(arguments: Sequence[str]) -> tuple[Toml | Callable[..., None], ...]:
    """The file of settings behind --config, or of the run to resume: it must be known before the flags are read."""
    path = _value_of("--config", arguments)
    if path is None and "--resume" in arguments and (out := _value_of("--out", arguments)) is not None:
        own = Path(out) / "config.toml"
        path = str(own) if own.is_file() else None
    if path is None:
        return ()
    if not Path(path).is_file():
        raise ValueError(f"--config: no such file: {path!r}")
    try:
        tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--config: {path} is not TOML: {error}") from None
    return (Toml(path, must_exist=True, use_commands_as_keys=False), _refuse_code)


def _refuse_code(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse the Python that a file of settings names: a file may come from anywhere, a flag is the user's own."""
    from untrained.spelling import names_code

    for argument in arguments:
        given = [token.value for token in argument.tokens if token.source != "cli"]
        if argument.name in ("--method", "--methods"):
            own = names_code(given)
        else:  # the module of an environment, gym:MODULE:ID
            gym = [value for value in given if value.startswith("gym:")]
            own = argument.name == "--task" and any(value.count(":") > 1 for value in gym)
        if own:
            flags = shlex.join(word for value in given for word in (argument.name, value))
            raise ValueError(
                f"{argument.tokens[0].source} names code, and code that a file names is not run; if you trust it, "
                f"add {flags}"
            )


def _value_of(flag: str, arguments: Sequence[str]) -> str | None:
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == flag:
            return value if equals else next(iter(arguments[number + 1 :]), "")
    return None
