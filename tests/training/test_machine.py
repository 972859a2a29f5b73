"""The machine that a training runs on: schedulers, start methods, numbers that no machine bears, stops."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import pellucid as pl
from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.images.decode import decoding_threads
from pellucid.runs.run_folder import RunFolder
from pellucid.training.config import Machine
from pellucid.training.configure import configure
from pellucid.training.machine import Hardware, check_machine, device_for, hardware_for, workers_for
from pellucid.training.train import train_events
from tests.pictures import make_classes

QUICK: dict[str, Any] = {"model": "small", "size": 32, "batch": 8, "epochs": 1, "device": "cpu"}
SCHEDULERS: dict[str, dict[str, str]] = {
    "SLURM": {
        **{"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "job", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4"},
        **{"SLURM_PROCID": "2", "SLURM_LOCALID": "2", "SLURM_NNODES": "2", "SLURM_NODEID": "1"},
        **{"SLURM_NODELIST": "node[1-2]", "SLURM_CPUS_PER_TASK": "1"},
    },
    "SLURM, interactive": {"SLURM_JOB_NAME": "bash", "SLURM_NTASKS": "8", "SLURM_PROCID": ""},
    "torchrun": {
        **{"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "0"},
        **{"MASTER_ADDR": "no.such.host", "MASTER_PORT": "no number", "TORCHELASTIC_RUN_ID": "none"},
    },
    "LSF": {
        **{"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/no/such/file", "LSB_HOSTS": "a b"},
        **{"JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_LOCAL_RANK": "1", "JSM_NAMESPACE_SIZE": "4"},
    },
    "PBS": {"PBS_JOBID": "1", "PBS_NODEFILE": "/no/such/file", "PBS_NUM_NODES": "2", "NCPUS": "1"},
    "Open MPI": {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
    "Intel MPI": {"PMI_RANK": "1", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1"},
    "Kubeflow": {
        **{"KUBERNETES_PORT": "tcp://127.0.0.1:443", "MASTER_ADDR": "no.such.host", "MASTER_PORT": "1"},
        **{"WORLD_SIZE": "2", "RANK": "1"},
    },
    "TPU": {"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "a,b", "XRT_TPU_CONFIG": "x", "PJRT_DEVICE": "TPU"},
    "no GPU": {"CUDA_VISIBLE_DEVICES": "NoDevFiles", "ROCR_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"},
    "threads": {"OMP_NUM_THREADS": "abc", "MKL_NUM_THREADS": "0", "OPENBLAS_NUM_THREADS": "", "PYTHONHASHSEED": "7"},
    "empty": {"RANK": "", "LOCAL_RANK": "", "WORLD_SIZE": "", "SLURM_NTASKS": "", "CUDA_VISIBLE_DEVICES": ""},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_one_process_trains_whatever_a_scheduler_says(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SCHEDULERS[scheduler].items():
        monkeypatch.setenv(name, value)
    assert hardware_for(configure("photos", device="cpu")).device == torch.device("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_command_trains_whatever_a_scheduler_says(scheduler: str, photos: Path, tmp_path: Path) -> None:
    flags = ["--model", "small", "--size", "32", "--epochs", "1", "--device", "cpu", "--workers", "1"]
    told(["train", str(photos), *flags, "--runs", str(tmp_path)], SCHEDULERS[scheduler])
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_every_verb_works_whatever_schedulers_say(photos: Path, tmp_path: Path) -> None:
    every = {name: value for scheduler in SCHEDULERS.values() for name, value in scheduler.items()}
    model = str(pl.train(photos, **QUICK, runs=tmp_path).path)
    image = str(next(photos.rglob("*.png")))
    for arguments in (
        *(["evaluate", model], ["predict", model, image], ["verify", model], ["report", model], ["models"]),
        *(
            ["structure", "small"],
            ["split", str(photos), "--out", str(tmp_path / "parts")],
            ["runs", str(tmp_path)],
            ["bench", "small", "--steps", "2"],
        ),
    ):
        told(arguments, every)


def told(arguments: list[str], environment: dict[str, str]) -> None:
    """The command ends well."""
    command = [sys.executable, "-m", "pellucid", *arguments]
    ended = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_script_that_is_read_anew_by_its_own_process_trains_nothing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where processes are spawned, and the script has no main guard."""
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(UserError, match="this script was started again by one of its own processes") as refused:
        pl.train(photos, **QUICK, runs=tmp_path / "runs")
    assert 'if __name__ == "__main__":' in refused.value.hint
    with pytest.raises(UserError, match="this script was started again"):
        pl.bench("small", size=32, steps=1, burn_in=0)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_spawning_script_without_a_main_guard_is_told_so(photos: Path, tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(
        "import multiprocessing\n"
        "if multiprocessing.current_process().name == 'MainProcess': multiprocessing.set_start_method('spawn')\n"
        "import pellucid as pl\n"
        f"pl.train({str(photos)!r}, model='small', size=32, epochs=1, workers=2, device='cpu')\n"
    )
    ended = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    *_, problem, hint = ended.stderr.strip().splitlines()
    assert problem.endswith("a process that was to decode images ended before it began")
    assert 'if __name__ == "__main__":' in hint
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"threads": 0}, "machine.threads"),
        ({"threads": -1}, "machine.threads"),
        ({"workers": -1}, "--workers"),
        ({"workers": 10_000}, "10,000 processes that decode are more than"),
        ({"threads": 10_000}, "10,000 threads are more than can be had"),
    ],
)
def test_numbers_that_no_machine_bears_are_refused_by_name(asked: dict[str, int], said: str) -> None:
    with pytest.raises(UserError) as refused:
        check_machine(configure("photos", machine=asked).machine)
    assert said in str(refused.value)


def test_a_device_that_is_not_there_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="there is no CUDA device here"):
        pl.train(tmp_path / "not there", model="small", device="cuda")
    assert device_for("cpu") == torch.device("cpu")


def test_a_worker_of_somebodys_pool_decodes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure("photos", workers=3)
    assert workers_for(config, decoded=True, device=torch.device("cpu")) == 3
    probe = configure("photos", workers=3, mode="probe", weights="imagenet")
    assert workers_for(probe, decoded=True, device=torch.device("cpu")) == 0  # and nobody is told of three
    assert workers_for(probe, decoded=False, device=torch.device("cpu")) == 3
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    assert workers_for(config, decoded=True, device=torch.device("cpu")) == 0


def test_threads_that_are_asked_for_are_taken() -> None:
    before = torch.get_num_threads()
    try:
        check_machine(Machine(threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_stop_before_training_is_told_and_no_run_is_made(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **_named: object) -> Any:
        raise KeyboardInterrupt  # as Ctrl-C, while photographs are decoded

    monkeypatch.setattr("pellucid.images.pixels.decode", stop)
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    flags = ["--model", "small", "--size", "32", "--runs", str(tmp_path / "runs")]
    assert run(["train", str(photos), *flags]) == 2
    assert "stopped before training began; no run was made" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_stop_between_a_run_and_its_first_word_names_the_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt  # its folder is there by now, and nothing was told of it

    monkeypatch.setattr("pellucid.training.train.keep_code", stop)
    flags = ["--model", "small", "--size", "32", "--epochs", "1", "--workers", "0", "--runs", str(tmp_path / "runs")]
    assert run(["train", str(photos), *flags]) == 2
    (made,) = (tmp_path / "runs").iterdir()
    assert f"`pellucid resume {made}` goes on" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(["resume", str(made)]) == 0


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_second_stop_ends_at_once_and_leaves_no_process(photos: Path, tmp_path: Path, told: signal.Signals) -> None:
    settings = QUICK | {"epochs": 500, "workers": 1, "features": {"pixels": "off"}}
    events = train_events(configure(photos, **settings, runs=tmp_path))
    folder = next(event.run for event in events if event.event == "started")
    next(event for event in events if event.event == "progress")
    assert multiprocessing.active_children()
    os.kill(os.getpid(), told)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), told)
    events.close()
    assert not multiprocessing.active_children()
    assert RunFolder(Path(folder)).state() == "unfinished"


def test_threads_give_up_what_none_has_begun() -> None:
    """Ctrl-C while 100,000 files are read ends after the few that are being read."""
    read = []
    with suppress(KeyboardInterrupt), decoding_threads(2) as pool:
        for number in range(100):
            pool.submit(lambda number=number: read.append(number) or time.sleep(0.02))
        raise KeyboardInterrupt
    assert len(read) < 10


@pytest.mark.slow
def test_processes_end_when_the_main_one_is_killed(photos: Path) -> None:
    script = (
        "import multiprocessing, os, signal\n"
        "from pellucid.training.configure import configure\n"
        "from pellucid.training.train import train_events\n"
        "import tempfile\n"
        "settings = {'model': 'small', 'size': 32, 'epochs': 500, 'workers': 2, 'features': {'pixels': 'off'}}\n"
        f"for event in train_events(configure({str(photos)!r}, **settings, runs=tempfile.mkdtemp())):\n"
        "    if event.event == 'progress':\n"
        "        print(*[child.pid for child in multiprocessing.active_children()], flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stdout
    pids = [int(pid) for pid in told.split()]
    assert len(pids) == 2
    for _ in range(50):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return
        time.sleep(0.1)
    raise AssertionError("they live on")


@pytest.mark.parametrize(("precision", "inside"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_step_computes_with_the_precision_that_is_said(precision: str, inside: torch.dtype) -> None:
    seen = []
    layer = torch.nn.Conv2d(3, 2, 3)
    layer.register_forward_hook(lambda *given: seen.append(given[2].dtype))
    said = Hardware(torch.device("cpu"), precision).forward(lambda images: (layer(images),), torch.zeros(1, 3, 4, 4))
    assert seen == [inside] and [each.dtype for each in said] == [torch.float32]
