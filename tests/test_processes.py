"""A run is trained by one process: each of several refuses at once, and the folder stays as it was."""

import socket
import subprocess
import sys

import jax
import pytest
from conftest import ROOT
from tiny_run import contents, train

from genjax_art.errors import RunError
from genjax_art.train.process import COORDINATOR_VARIABLE

ONE_OF_TWO = """
import runpy, sys
import jax
address, me, *sys.argv = sys.argv[1:]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(address, 2, int(me))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_each_of_two_processes_refuses_at_once(copied, tmp_path):
    """One goes on with a run, the other begins one: what they would do without a lock between them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    before = contents(copied)
    words = (["--resume", "--run-dir", copied, "--steps", 9], ["mlp-gan", "--run-dir", tmp_path / "new"])
    children = [
        subprocess.Popen(
            [*map(str, (sys.executable, "-c", ONE_OF_TWO, address, me, ROOT / "train.py", *words[me]))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for me in range(2)
    ]
    for me, child in enumerate(children):
        out, err = child.communicate(timeout=120)
        [line] = [line for line in err.splitlines() if line.startswith("error: ")]
        assert (child.returncode, out) == (1, "") and "Traceback" not in err, err
        assert line.endswith(f"trained by one process, on any number of its devices, and this is process {me} of 2")
    assert contents(copied) == before and not (tmp_path / "new").exists()


def test_a_run_from_python_refuses_too(copied, quick_runs, monkeypatch):
    before = contents(copied)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    with pytest.raises(RunError, match="this is process 0 of 3"):
        train(copied, resume=True, steps=9)
    monkeypatch.undo()
    monkeypatch.setenv(COORDINATOR_VARIABLE, "there:1234")
    with pytest.raises(RunError, match=f"{COORDINATOR_VARIABLE}=there:1234 asks for several: unset it"):
        train(copied, resume=True, steps=9)
    assert contents(copied) == before
