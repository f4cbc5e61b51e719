"""The library of kernels is compiled, cached, checked and loaded, and the plain path taken without one."""

import os
import re
import shutil
import stat
import sys
import time
from pathlib import Path

import pytest
import torch
from kernel_problems import built, finished, started

from untrained.native import compiler
from untrained.native import library as found
from untrained.native.compiler import LEVELS, NoCompiler, find_library
from untrained.native.library import Status, levels, load

# --- building ---


def put(library, cache, level=None, content=None):
    """Put a library into the cache as if it had been compiled; with other content, as if it had been damaged since."""
    cache.mkdir(mode=0o700, exist_ok=True)
    path = cache / compiler._name(compiler._stem(level or levels()[0], ()), library.read_bytes())
    path.unlink(missing_ok=True)  # this process may have loaded it: not in its place
    path.write_bytes(library.read_bytes() if content is None else content)
    path.chmod(0o600)
    return path


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache of one's own, and nothing asked for; not there yet."""
    for name in ("UNTRAINED_NATIVE", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UNTRAINED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


status = found.status.__wrapped__
"""What a new process would find."""


@pytest.fixture(scope="module")
def real():
    """A library that was really built, for compilers that only seem to."""
    try:
        return built("portable")
    except NoCompiler as why:
        pytest.skip(str(why))


@pytest.fixture
def compiler_that(tmp_path, monkeypatch):
    """Sets $CXX to a shell script; $out is where it is to write to, and it leaves a line in `calls` when called."""

    def does(script):
        path = tmp_path / "compiler"
        path.write_text(
            f'#!/bin/sh\necho called >> {tmp_path}/calls\nwhile [ "$1" != -o ]; do shift; done\nout=$2\n{script}\n'
        )
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        return lambda: (tmp_path / "calls").read_text().count("called")

    return does


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_real_build_leaves_nothing_but_the_library(cache, real):
    path = built("portable")
    assert contents(cache) == [path.name] and path == find_library("portable")
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert load("portable").keep_top is not None
    before = path.stat().st_mtime_ns
    assert built("portable").stat().st_mtime_ns == before


def test_what_is_built_is_not_built_again(cache, real, compiler_that):
    calls = compiler_that(f"cp {real} $out")
    for _ in range(3):
        assert status()[1:] == (levels()[0], "")
    assert calls() == 1 and contents(cache) == [find_library(levels()[0]).name]


def test_levels_and_flags_have_files_of_their_own():
    stems = {compiler._stem(level, flags) for level in LEVELS for flags in ((), ("-g",), ("-g", "-O1"))}
    assert len(stems) == 3 * len(LEVELS)


def test_the_file_is_named_for_every_source(tmp_path, monkeypatch):
    before = compiler._stem("portable", ())
    for name in (*compiler.SOURCES, *compiler._HEADERS):
        shutil.copy(compiler._FOLDER / name, tmp_path / name)
    monkeypatch.setattr(compiler, "_FOLDER", tmp_path)
    assert compiler._stem("portable", ()) == before
    for name in (*compiler.SOURCES, *compiler._HEADERS):
        with (tmp_path / name).open("a") as file:
            file.write("//")
        assert compiler._stem("portable", ()) != before
        before = compiler._stem("portable", ())
    included = {
        line.split('"')[1]
        for name in compiler.SOURCES
        for line in (tmp_path / name).read_text().splitlines()
        if line.startswith('#include "')
    }
    assert included == set(compiler._HEADERS)


def test_no_compiler_on_the_path(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert status() == Status(None, "", "no C++ compiler on the PATH")
    for asked in ("1", levels()[0], "portable"):
        monkeypatch.setenv("UNTRAINED_NATIVE", asked)
        with pytest.raises(ImportError, match=rf"^UNTRAINED_NATIVE={asked}: no C\+\+ compiler on the PATH$"):
            status()
    assert contents(cache) == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("/bin/false", "^/bin/false failed: exit code 1$"),
        ("nonexistent", "^no compiler 'nonexistent'$"),
        ("'no such' -x", "^no compiler 'no such'$"),
        ("/bin/sh -c 'echo the error is here >&2; exit 3'", "the error is here$"),
        ("/bin/sh -c 'printf \"\\377\\376 error\" >&2; exit 3'", "failed: .* error$"),
        (str(Path(__file__).parent), "^no compiler"),
        ("c++ 'unclosed", "^no compiler"),
    ],
)
def test_a_compiler_that_fails(command, reason, cache, monkeypatch):
    monkeypatch.setenv("CXX", command)
    library, level, why = status()
    assert library is None and level == ""
    assert re.search(reason, why)
    assert contents(cache) == []


@pytest.mark.parametrize("command", ["", "  "])
def test_an_empty_choice_of_compiler_is_none(command, cache, monkeypatch):
    monkeypatch.setenv("CXX", command)
    monkeypatch.setenv("PATH", "")
    assert status().reason == "no C++ compiler on the PATH"


@pytest.mark.parametrize(
    "script", ["exit 0", "rm -f $out", "touch $out", "echo garbage > $out", "mkdir $out", "ln -s /dev/zero $out"]
)
def test_a_compiler_that_lies_is_asked_once(script, cache, compiler_that):
    calls = compiler_that(script)
    for _ in range(3):
        library, level, why = status()
        assert library is None and level == "" and "not tried again until" in why
    (note,) = cache.iterdir()
    assert calls() == 1 and note.suffix == ".failed" and str(note) in why
    note.unlink()
    assert status().library is None and calls() == 2


def test_another_compiler_is_asked_again(cache, real, compiler_that):
    compiler_that("echo garbage > $out")
    assert status().library is None
    compiler_that(f"cp {real} $out")
    assert status().library is not None


def test_a_library_of_something_else_is_refused(cache, tmp_path, compiler_that):
    (tmp_path / "other.cpp").write_text('extern "C" int something() { return 1; }')
    calls = compiler_that(f"c++ -shared -fPIC {tmp_path}/other.cpp -o $out")
    for _ in range(2):
        library, _, why = status()
        assert library is None and "use_parallel_for" in why
    assert calls() == 1


def test_modes_of_the_compiled_file_are_ours(cache, real, compiler_that):
    compiler_that(f"cp {real} $out; chmod 0 $out")
    assert status().library is not None
    compiler_that(f"umask 0; cat {real} > $out")
    shutil.rmtree(cache)
    assert status().library is not None and stat.S_IMODE(find_library(levels()[0]).stat().st_mode) == 0o700


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_a_compiler_that_hangs_is_stopped_with_all_it_started(cache, compiler_that, tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "_MOMENT", 0.1)
    monkeypatch.setattr(compiler, "_LONGEST", 0.4)
    calls = compiler_that(f"sleep 600 & echo $! > {tmp_path}/child; wait")
    for _ in range(2):
        assert "took more than 0.4 seconds" in status().reason
    assert calls() == 1
    child = int((tmp_path / "child").read_text())
    for _ in range(200):
        if has_ended(child):
            break
        time.sleep(0.05)
    assert has_ended(child)


def has_ended(process):
    """Nobody may have heard of its end yet (Z)."""
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return True


def test_a_compiler_that_reads_gets_nothing(cache, real, compiler_that):
    compiler_that(f"cat > /dev/null; cp {real} $out")
    assert status().library is not None


@pytest.mark.parametrize(("terminal", "script"), [(True, "sleep 0.3"), (False, "sleep 0.3"), (True, "")])
def test_only_a_terminal_is_told_and_only_if_it_takes_long(
    terminal, script, cache, real, compiler_that, monkeypatch, capsys
):
    monkeypatch.setattr(compiler, "_MOMENT", 0.1 if script else 60.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    compiler_that(f"{script}\ncp {real} $out")
    assert status().library is not None
    told = capsys.readouterr()
    assert told.out == "" and ("compiling kernels" in told.err) == (terminal and script != "")


def test_a_compiler_that_cannot_be_run(cache, tmp_path, monkeypatch):
    (tmp_path / "text").write_bytes(b"\x00\x01")
    (tmp_path / "text").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "text"))
    assert status().library is None
    assert contents(cache) == []


@pytest.mark.parametrize("where", ["a file", "a file/below", "/proc/nowhere/to/write", "x" * 300])
def test_a_cache_that_cannot_be(where, tmp_path, cache, monkeypatch):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("UNTRAINED_CACHE", where if where.startswith("/") else str(tmp_path / where))
    library, _, why = status()
    assert library is None and why.startswith("the cache cannot be used: ")
    monkeypatch.setenv("UNTRAINED_NATIVE", "1")
    with pytest.raises(ImportError, match="the cache cannot be used"):
        status()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no such permissions")
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o722, 0o1777])
def test_a_cache_that_others_may_write_to_is_refused(mode, cache, real):
    put(real, cache)
    cache.chmod(mode)
    library, _, why = status()
    assert library is None and why.startswith(f"other users may write to {cache}")
    cache.chmod(0o755)
    assert status().library is not None


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a folder away")
def test_a_cache_of_somebody_else_is_refused(cache):
    cache.mkdir(mode=0o700)
    os.chown(cache, 12345, -1)
    assert status().reason.startswith(f"other users may write to {cache}")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(cache):
    cache.mkdir(mode=0o500)
    assert status().reason.startswith("the cache cannot be used: ")


def test_a_user_without_a_home(monkeypatch, cache):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("UNTRAINED_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    assert status().library is None


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("UNTRAINED_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compiler.cache() == tmp_path / ".cache" / "untrained" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert compiler.cache() == tmp_path / "xdg" / "untrained" / "kernels"
    monkeypatch.setenv("UNTRAINED_CACHE", str(tmp_path / "own"))
    assert compiler.cache() == tmp_path / "own"


def damaged(content):
    """Ways in which a file changes: cut, longer, one bit, something else."""
    middle = len(content) // 2
    yield from (b"", b"garbage", b"\x7fELF" + bytes(60), b"#!/bin/sh\n", content + b"\0", content[::-1])
    yield from (content[: len(content) * share // 10] for share in (3, 6, 9))
    yield content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_a_damaged_library_is_compiled_anew(cache, real, compiler_that):
    # Loading half a library would end this process.
    calls = compiler_that(f"cp {real} $out")
    for number, content in enumerate(damaged(real.read_bytes()), start=1):
        path = put(real, cache, content=content)
        assert status().library is not None
        assert path.read_bytes() == real.read_bytes()
        assert calls() == number and contents(cache) == [path.name]


def test_a_library_of_another_machine_is_compiled_anew(cache, real, compiler_that):
    calls = compiler_that(f"cp {real} $out")
    garbage = cache.parent / "garbage"
    garbage.write_bytes(b"\x7fELF for something else")
    put(garbage, cache)
    assert status().library is not None and calls() == 1 and len(contents(cache)) == 1


def link(path):
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no such permissions")
@pytest.mark.parametrize(
    "change",
    [
        *(pytest.param(lambda path, m=mode: path.chmod(m), id=oct(mode)) for mode in (0o777, 0o620, 0o602)),
        link,
        pipe,
        pytest.param(lambda path: os.truncate(path, 1 << 40), id="a terabyte of nothing"),
    ],
)
def test_a_library_that_may_be_anybodys_is_not_loaded(change, cache, real, compiler_that):
    calls = compiler_that(f"cp {real} $out")
    path = put(real, cache)
    change(path)
    assert status().library is not None and calls() == 1
    found = path.lstat()
    assert stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
    assert path.read_bytes() == real.read_bytes()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a file away")
def test_a_library_of_somebody_else_is_not_loaded(cache, real, compiler_that):
    calls = compiler_that(f"cp {real} $out")
    path = put(real, cache)
    os.chown(path, 12345, -1)
    assert status().library is not None and calls() == 1 and path.stat().st_uid == 0


def test_a_cache_may_be_named_from_the_working_folder(real, compiler_that, cache, monkeypatch, tmp_path):
    calls = compiler_that(f"cp {real} $out")
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o700)
    for name in (".", "new"):
        monkeypatch.setenv("UNTRAINED_CACHE", name)
        assert status().library is not None and status().library is not None
        assert find_library(levels()[0]).parent == (tmp_path / name).resolve()
    assert calls() == 2


def test_a_folder_in_the_librarys_place(cache, real, compiler_that):
    compiler_that(f"cp {real} $out")
    path = put(real, cache)
    path.unlink()
    path.mkdir()
    assert status().library is None and path.is_dir()


def test_two_processes_build_at_once(cache, real, compiler_that):
    calls = compiler_that(f"head -c 1000 {real} > $out; sleep 0.5; cat {real} > $out")
    code = "from untrained.native.compiler import compile_library; compile_library('portable')"  # without torch
    for done in [finished(each) for each in [started(code) for _ in range(3)]]:
        assert done.returncode == 0, done.stderr
    assert 1 <= calls() <= 3
    assert contents(cache) == [find_library("portable").name]
    assert find_library("portable").read_bytes() == real.read_bytes()


def test_a_build_that_is_interrupted_leaves_nothing(cache, compiler_that, monkeypatch):
    compiler_that("echo half > $out")
    monkeypatch.setattr(compiler.subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        status()
    monkeypatch.undo()
    assert contents(cache) == []


def interrupted(process, timeout=None):
    process.poll()
    raise KeyboardInterrupt


# --- which library this process uses ---


def test_what_may_be_asked_for(cache, real, compiler_that, monkeypatch):
    compiler_that(f"cp {real} $out")
    monkeypatch.setenv("UNTRAINED_NATIVE", "0")
    assert status() == Status(None, "", "UNTRAINED_NATIVE=0 turns it off") and not cache.exists()
    for asked in ("", "1", *levels()):
        monkeypatch.setenv("UNTRAINED_NATIVE", asked)
        assert status()[1:] == (asked if asked in LEVELS else levels()[0], "")
    for nonsense in ("yes", "2", "AVX2", " 1", "avx2,avx512"):
        monkeypatch.setenv("UNTRAINED_NATIVE", nonsense)
        with pytest.raises(ImportError, match=rf"^UNTRAINED_NATIVE must be 0, 1, .* or unset, got '{nonsense}'$"):
            status()


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ("AVX512", ["avx512", "avx2", "portable"]),
        ("AVX512_AMX", ["avx512", "avx2", "portable"]),
        ("AVX2", ["avx2", "portable"]),
        *((other, ["portable"]) for other in ("DEFAULT", "NO AVX", "SVE256", "NEON", "VSX", "Z VECTOR")),
    ],
)
def test_the_levels_are_those_of_torch(capability, expected, cache, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert levels() == expected
    for level in set(LEVELS) - set(expected):
        monkeypatch.setenv("UNTRAINED_NATIVE", level)
        with pytest.raises(ImportError, match=f"^UNTRAINED_NATIVE={level}: this machine has .*portable only$"):
            status()
