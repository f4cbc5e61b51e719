"""The scripts with which shells complete commands and flags."""

import shutil
import subprocess

import pytest

from untrained.cli import main

ASK = r"""
source ./script
complete=$(complete -p untrained | sed 's/.*-F \([^ ]*\).*/\1/')
ask() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  $complete untrained "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[@]}"
}
ask untrained fi
ask untrained find --ke
ask untrained wann --isl
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_and_flags(tmp_path, capsys):
    main(["completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out, encoding="utf-8")
    done = subprocess.run(["bash", "-c", ASK], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["find", "--keep", "--islands"] and not done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(shell, capsys):
    main(["completion", shell])
    script = capsys.readouterr().out
    assert "frontier" in script and "keep" in script


def test_an_unknown_shell_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["completion", "tcsh"])
    assert "bash" in capsys.readouterr().err
