"""Clusters: on Dask and on Ray all is found as in one process, also after a worker died."""

import dataclasses
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import untrained as ut
from toy_search import ISLANDS, Toy, assert_same, search_of
from untrained import wann
from untrained.cli.app import main
from untrained.runs.grid import read_grid
from untrained.terminal.extras import install_command
from untrained.wann.evolution.workers import Evaluator

# Ray in a process of its own: so that a search connects to an address, and the end of this one ends it.
RAY = """
import logging, sys, ray
ray.init("local", num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, object_store_memory=100 << 20,
         _temp_dir=sys.argv[1])
print("address", ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""

# A method that kills the worker which chooses for the second time, once in all.
MORTAL = """
import os, signal
from dataclasses import dataclass
from pathlib import Path
from typing import final

import untrained as ut
from untrained.methods.masks import top_codes, uniform_scores

CALLS = []


@final
@dataclass(frozen=True)
class Mortal(ut.Method):
    mark: str = ""
    home: int = 0

    def init_scores(self, weight, generator):
        return uniform_scores(weight, generator)

    def codes(self, weights, scores):
        CALLS.append(1)
        if len(CALLS) > 1 and os.getpid() != self.home and not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return top_codes(scores, 0.5, together=False, signed=False)
"""


class DiesOnce(Toy):
    """Kill the worker that evaluates for the fourth time, once in all."""

    def rewards(self, networks, weights, seed, **how):
        if len(self.calls) == 3 and os.getpid() != self.home:
            try:
                Path(self.mark).touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().rewards(networks, weights, seed, **how)


@pytest.fixture(scope="module")
def dask():
    distributed = pytest.importorskip("distributed")
    # Nobody reads the dashboard, and its port may be taken.
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=60
    ) as cluster:
        yield f"dask:{cluster.scheduler_address}"


@pytest.fixture(scope="module")
def ray():
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    # Ray lets nobody in without the cluster's token, which it reads when it is imported: this cluster has its own.
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    pipe = subprocess.PIPE
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,  # a short path, for sockets
    ):
        for name, value in settings.items():
            patch.setenv(name, value)
        with subprocess.Popen([sys.executable, "-c", RAY, folder], stdin=pipe, stdout=pipe, text=True) as head:
            assert head.stdout is not None
            too_long = threading.Timer(60, head.kill)  # ends the lines below
            too_long.start()
            address = next((line.split()[1] for line in head.stdout if line.startswith("address")), None)
            too_long.cancel()
            assert address, "Ray has not started"
            try:
                yield f"ray:{address}"
            finally:
                try:
                    head.communicate(timeout=30)
                except subprocess.TimeoutExpired:
                    head.kill()


@pytest.fixture(params=["dask", pytest.param("ray", marks=pytest.mark.slow)])
def cluster(request):
    return request.getfixturevalue(request.param)


def test_a_worker_that_dies_changes_nothing(cluster, tmp_path):
    mark = tmp_path / "dead"
    search = search_of(DiesOnce(mark=str(mark), home=os.getpid()), workers=cluster, **ISLANDS, seed=5)
    search.run(3)
    assert mark.exists()
    alone = search_of(**ISLANDS, seed=5)
    alone.run(3)
    assert_same(search, alone)


def test_a_comparison_is_what_one_process_finds_though_a_worker_dies(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mortal.py").write_text(MORTAL, encoding="utf-8")
    method = f"mortal.py:Mortal(mark={str(tmp_path / 'dead')!r},home={os.getpid()})"
    flags = ["compare", "--widths", "8", "--epochs", "1", "--seeds", "1", "--methods", "", "--method", method]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("untrained.experiments.compare.plot.available", lambda: False)
        for jobs in ("1", cluster):
            main([*flags, "--jobs", jobs, "--out", jobs[:1]])
    assert Path("dead").exists()
    one, other = (read_grid(folder).cells for folder in ("1", cluster[:1]))
    assert [dataclasses.replace(cell, seconds=0) for cell in one] == [dataclasses.replace(c, seconds=0) for c in other]
    tickets = [[path.read_bytes() for path in Path(f).glob("cells/*/found.ticket")] for f in ("1", cluster[:1])]
    assert tickets[0] == tickets[1] != [] and [cell.error for cell in one] == ["", "", ""]
    assert "jobs" not in (Path(cluster[:1]) / "config.toml").read_text(encoding="utf-8")


def test_objects_of_a_comparison_come_to_the_workers(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("untrained.experiments.compare.plot.available", lambda: False)
    gain = 0.5  # of the closures: not importable by a worker
    x = torch.randn(96, 12, generator=torch.Generator().manual_seed(0))
    y = x[:, :3].argmax(1)

    def net(shape, classes):
        return nn.Sequential(nn.Linear(*shape, 8), nn.ReLU(), nn.Linear(8, classes))

    def loss(outputs, targets):
        return gain * nn.functional.cross_entropy(outputs, targets)

    def loop(model, train, epochs, seed):
        ut.fit(model, train, epochs=epochs, seed=seed, loss=loss, title=None)

    data = [TensorDataset(x[part], y[part]) for part in (slice(48), slice(48, 72), slice(72, 96))]
    given = {"models": net, "methods": [ut.EdgePopup(0.5), ut.Biprop(0.3)], "data": [DataLoader(d, 16) for d in data]}
    given |= {"loop": loop, "loss": loss, "epochs": 1, "seeds": 2}
    one, other = (ut.compare(**given, jobs=jobs, out=str(jobs)[:1]).cells for jobs in (1, cluster))
    assert [dataclasses.replace(cell, seconds=0) for cell in one] == [dataclasses.replace(c, seconds=0) for c in other]
    assert len(one) == 10 and not any(cell.error for cell in one)


def test_the_command_finds_the_same_networks(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["wann", "--population", "6", "--generations", "2", "--trials", "1", "--tune", "shared", "--seed", "3"]
    for workers in ("1", cluster):
        main([*flags, "--workers", workers, "--out", workers[:1]])
    found = [sorted((Path(folder) / "front").iterdir()) for folder in ("1", cluster[:1])]
    assert [path.read_bytes() for path in found[0]] == [path.read_bytes() for path in found[1]]
    assert found[0] and "workers" not in (Path(cluster[:1]) / "config.toml").read_text(encoding="utf-8")


def test_a_gymnasium_task_and_its_errors_are_the_same(cluster):
    task = wann.GymEnv("CartPole-v1", max_steps=20)
    preset = dataclasses.replace(wann.PRESETS["laptop_swing"], population=4, reps=1)
    searches = [wann.Search(task, preset, workers=workers, seed=2) for workers in (1, cluster)]
    for search in searches:
        search.run(2)
    assert_same(*searches)
    net = searches[0].best.net
    own = [wann.tuned(task, net, budget=2, seed=1, workers=workers).weights for workers in (1, cluster)]
    np.testing.assert_array_equal(*own)
    with Evaluator(task, cluster) as evaluator, pytest.raises(ValueError, match=r"^part must be one of") as caught:
        evaluator.rewards(searches[0].ask(), [1.0], 0, part="other")  # pyright: ignore
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "dask:", "slurm:node", "4"])
def test_other_names_are_refused(name):
    told = f"workers must be a number, dask, ray, dask:ADDRESS or ray:ADDRESS, got {name!r}"
    with pytest.raises(ValueError, match=re.escape(told)):
        search_of(workers=name)


def test_a_comparison_refuses_other_names_before_it_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = "jobs must be a number, dask, ray, dask:ADDRESS or ray:ADDRESS, got 'slurm'"
    with pytest.raises(ValueError, match=re.escape(told)):
        ut.compare(methods="biprop", widths=(8,), epochs=1, seeds=1, jobs="slurm", out="run")
    assert not Path("run").exists()


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray:node:6379", "ray")])
def test_without_its_package_the_extra_is_named(monkeypatch, name, package):
    monkeypatch.setattr("untrained.clusters.cluster.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=re.escape(f"{package}: {install_command('cluster')}")):
        search_of(workers=name)


def test_an_address_where_nobody_answers_is_named_at_once():
    pytest.importorskip("ray")
    with pytest.raises(ConnectionError, match=r"^ray:127\.0\.0\.1:9 cannot be reached"):
        search_of(workers="ray:127.0.0.1:9").run(1)


@pytest.mark.parametrize(("command", "name"), [("wann", "workers"), ("compare", "jobs")])
def test_a_file_of_settings_names_no_cluster(tmp_path, capsys, command, name):
    file = tmp_path / "config.toml"
    file.write_text(f'{name} = "dask:elsewhere:8786"\n', encoding="utf-8")
    with pytest.raises(SystemExit):
        main([command, "--config", str(file)])
    assert "names the cluster 'dask:elsewhere:8786', which only a flag may do" in capsys.readouterr().err
