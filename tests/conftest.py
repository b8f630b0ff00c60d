"""Strict numbers for the whole suite: eight simulated devices, no silent broadcast or dtype promotion."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
# Threads of XLA: with as many as devices, collectives of steps under way at once can wait for one another for ever on a
# busy machine, and the process aborts after 40 s.
os.environ["PJRT_NPROC"] = "32"
os.environ["GENJAX_ART_COMPILATION_CACHE"] = "off"  # a test never depends on what an earlier run compiled

import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import pytest
from helpers import share_compiled, write_picture

# A test compiles much and computes little: LLVM does not optimise, and older jaxlibs write fusions without MLIR, which
# halves the time (newer ones do not know that flag). Flags of the environment come last and win.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1 "
    + ("" if jax.version.__version_info__ >= (0, 11) else "--xla_cpu_use_fusion_emitters=false ")
    + os.environ.get("XLA_FLAGS", "")
)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout (MNIST by TFDS, emoji, sprites, chorales); tests skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no shared data beside this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def prepared_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests of data prepare sets, each once; decoding is done anew in every test."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture
def own_data(prepared_sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data of the user's home are read or written, and drawing takes no time."""
    monkeypatch.setenv("GENJAX_ART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared_sets))
    monkeypatch.setattr("genjax_art.data.sets.procedural_art.TRAIN_PER_STYLE", 3)
    monkeypatch.setattr("genjax_art.data.sets.procedural_art.TEST_PER_STYLE", 1)


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """A small labelled folder, with both splits."""
    for split, seeds in (("train", range(4)), ("test", range(4, 6))):
        for seed in seeds:
            write_picture(tmp_path / "own" / split / "Cats" / f"{seed}.png", seed=seed)
            write_picture(tmp_path / "own" / split / "big dogs" / f"{seed}.PNG", seed=100 + seed)
    return tmp_path / "own"


@pytest.fixture(scope="session", autouse=True)
def _compilations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What one test has compiled, down to single operations, the next one of the session finds."""
    from jax.experimental.compilation_cache import compilation_cache

    names = ("compilation_cache_dir", "persistent_cache_min_compile_time_secs", "persistent_cache_min_entry_size_bytes")
    before = {f"jax_{name}": getattr(jax.config, f"jax_{name}") for name in names}
    for name, value in zip(before, (str(tmp_path_factory.mktemp("compiled")), 0.0, -1), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture
def quick_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that draw and score few pictures and no curves, and leave the settings of the process alone."""
    monkeypatch.setattr("genjax_art.run.training.PICTURES", 4)
    monkeypatch.setattr("genjax_art.run.scores.SCORED", 8)
    monkeypatch.setattr("genjax_art.train.curves.draw_curves", lambda rows, path: None)
    monkeypatch.setattr("genjax_art.train.process.prepare_process", lambda: None)


@pytest.fixture
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of one plan share what is compiled."""
    share_compiled(monkeypatch)


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def command(
    quick_runs: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ended]:
    """`command("train", "mlp-gan", "--steps", 2)`: an entry script in this process, as the shell would see it."""
    from genjax_art import cli

    def run(script: str, *arguments: object) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", [f"{script}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main(runpy.run_path(str(ROOT / f"{script}.py"))[script])
        out, err = capsys.readouterr()
        return Ended(int(end.value.code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run with checkpoints of the steps 2, 4 and 6. To be copied, not changed."""
    import tiny_run

    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genjax_art.run.scores.SCORED", 8)
        patch.setattr("genjax_art.train.curves.draw_curves", lambda rows, path: None)
        tiny_run.train(folder)
    assert tiny_run.steps(folder) == [2, 4, 6]
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))
