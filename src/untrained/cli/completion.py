"""The command that prints a script for the completion of a shell."""

from __future__ import annotations

from typing import Literal

from untrained.cli.app import app


@app.command
def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script with which a shell completes our commands and flags when you press Tab.

    ```
    eval "$(untrained completion bash)"                        now; or this line in ~/.bashrc
    untrained completion zsh > ~/.zfunc/_untrained             a folder of zsh's fpath
    untrained completion fish > ~/.config/fish/completions/untrained.fish
    ```

    Args:
        shell: The shell.
    """
    print(app.generate_completion(shell=shell), end="")
