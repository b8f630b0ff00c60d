"""Sources, batches and the decoded cache, on arrays and on the small digits."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from genjax_art.build import build_source, load_preset
from genjax_art.data.batches import batch_at, batch_indices, batches, epoch_order, row_numbers, to_range
from genjax_art.data.cache import cache_folder
from genjax_art.data.contract import ArraySource, DataError, array_source, synthetic_source
from genjax_art.data.open import open_source
from genjax_art.errors import UsageError
from genjax_art.spec import ArraySpec

pytestmark = pytest.mark.usefixtures("own_data")


def numbered(length: int) -> ArraySource:
    """A source whose example i holds i (in two bytes) and has label i."""
    x = np.stack([np.arange(length) // 256, np.arange(length) % 256], axis=-1).astype(np.uint8)
    return array_source(x, np.arange(length, dtype=np.int32), kind="points", low=0.0, high=255.0)


# arrays


def test_uint8_levels_span_the_range_exactly() -> None:
    levels = np.arange(256, dtype=np.uint8)
    y = to_range(levels, ArraySpec((1,)))
    np.testing.assert_array_equal(y, (levels.astype(np.float32) / np.float32(127.5)) - np.float32(1))
    assert (y[0], y[-1], y.dtype) == (-1.0, 1.0, np.float32)
    unit = to_range(levels, ArraySpec((1,), low=0.0, high=1.0))
    assert (unit[0], unit[-1]) == (0.0, 1.0)


def test_floats_pass_unchanged() -> None:
    x = np.array([0.25, -1.0], np.float32)
    assert to_range(x, ArraySpec((2,), kind="points")) is x


@pytest.mark.parametrize(
    ("x", "label", "message"),
    [
        (np.zeros((3, 2), np.float64), None, "float64"),
        (np.full((3, 2), 1.5, np.float32), None, "outside"),
        (np.full((3, 2), np.nan, np.float32), None, "outside"),
        (np.zeros((0, 2), np.uint8), None, "no examples"),
        (np.zeros((3, 2), np.uint8), np.zeros(2, np.int32), "2 rows"),
        (np.zeros((3, 2), np.uint8), np.array([0, 1, -1], np.int32), "labels span"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(x: np.ndarray, label: np.ndarray | None, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        if label is not None and len(label) != len(x):
            ArraySource(ArraySpec((2,)), {"x": x, "label": label})
        else:
            array_source(x, label, kind="points")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_synthetic_source_is_seeded(dtype: type) -> None:
    spec = ArraySpec((4, 3, 1), classes=("a", "b"))
    one, same, other = (synthetic_source(spec, 9, seed, dtype).arrays for seed in (1, 1, 2))
    assert one["x"].dtype == dtype and one["x"].shape == (9, 4, 3, 1)
    assert set(one["label"]) <= {0, 1}
    np.testing.assert_array_equal(one["x"], same["x"])
    assert (one["x"] != other["x"]).any()


# order


@pytest.mark.parametrize("length", [1, 2, 3, 7, 256, 4500, 65_537])  # the last repeats an example in Grain's shuffle
def test_an_epoch_is_a_permutation_and_the_next_another(length: int) -> None:
    orders = [epoch_order(length, 3, epoch) for epoch in (0, 1)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(length))
    if length > 7:
        assert (orders[0] != orders[1]).any()
        assert (epoch_order(length, 4, 0) != orders[1]).any(), "seed + 1 must not be the next epoch of seed"


def test_batches_show_every_example_once_an_epoch() -> None:
    seen = np.concatenate([batch_indices(10, batch_size=4, seed=0, n=n) for n in range(5)])
    np.testing.assert_array_equal(np.sort(seen[:10]), np.arange(10))
    np.testing.assert_array_equal(np.sort(seen[10:]), np.arange(10))


def test_all_orders_are_about_equally_frequent() -> None:
    orders = [tuple(epoch_order(3, seed, 0)) for seed in range(600)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6 and min(counts) > 60  # expected 100 each, standard deviation 9


def test_data_without_examples_are_refused(monkeypatch) -> None:
    empty = array_source(np.zeros((1, 2), np.float32))
    object.__setattr__(empty, "arrays", {"x": np.zeros((0, 2), np.float32)})
    monkeypatch.setattr("genjax_art.build.open_source", lambda name, **_: empty)
    with pytest.raises(DataError, match="ring8 holds no examples"):
        build_source(load_preset("ring8"))


def test_however_many_streams_there_are_each_keeps_its_order(monkeypatch) -> None:
    """Of several seeds; an order is sorted once an epoch."""
    asked = []

    def counted(length, seed, epoch):
        asked.append((seed, epoch))
        return epoch_order.__wrapped__(length, seed, epoch)

    monkeypatch.setattr("genjax_art.data.batches.epoch_order", counted)
    streams = [batches(numbered(10), batch_size=4, seed=seed, prefetch=0) for seed in range(9)]
    streams += [row_numbers(10, batch_size=4, seed=seed) for seed in range(20, 29)]
    for _ in range(5):
        for stream in streams:
            next(stream)
    assert len(asked) == len(set(asked)) == 2 * len(streams)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_the_nth_batch_is_a_function_of_seed_and_n(prefetch: int) -> None:
    source = numbered(50)
    stream = batches(source, batch_size=8, seed=5, prefetch=prefetch)
    for n in range(20):
        batch = next(stream)
        assert batch["x"].dtype == np.float32 and batch["label"].dtype == np.int32
        np.testing.assert_array_equal(batch["x"][:, 1], batch["label"])  # rows stay together
        np.testing.assert_array_equal(batch["label"], batch_at(source, n, batch_size=8, seed=5)["label"])
    assert (
        batch_at(source, 0, batch_size=8, seed=6)["label"] != batch_at(source, 0, batch_size=8, seed=5)["label"]
    ).any()


def test_starting_at_k_equals_skipping_k() -> None:
    source = numbered(11)
    whole, resumed = batches(source, batch_size=4, seed=1), batches(source, batch_size=4, seed=1, start=7)
    for _ in range(7):
        next(whole)
    for _ in range(5):
        np.testing.assert_array_equal(next(whole)["label"], next(resumed)["label"])


def test_the_shares_of_processes_make_the_global_batch() -> None:
    source = numbered(30)
    shares = [batches(source, batch_size=12, seed=2, process_index=p, process_count=3) for p in range(3)]
    for n in range(6):
        together = np.concatenate([next(share)["label"] for share in shares])
        np.testing.assert_array_equal(together, batch_at(source, n, batch_size=12, seed=2)["label"])


def test_a_batch_may_exceed_the_data_set() -> None:
    counts = np.bincount(batch_at(numbered(3), 0, batch_size=12, seed=0)["label"])
    np.testing.assert_array_equal(counts, [4, 4, 4])


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"process_count": 3}, {"process_index": 1}, {"seed": -1}, {"start": -1}, {"prefetch": -1}],
)
def test_impossible_batches_are_refused_at_once(wrong: dict[str, int]) -> None:
    with pytest.raises(DataError):
        batches(numbered(5), **{"batch_size": 4, "seed": 0, **wrong})


@pytest.mark.parametrize("end", ["close", "delete"])
def test_no_thread_stays_behind(end: str) -> None:
    before = set(threading.enumerate())
    stream = batches(numbered(9), batch_size=4, seed=0)
    next(stream)
    started = set(threading.enumerate()) - before
    assert len(started) == 1
    stream.close() if end == "close" else stream.__del__()  # type: ignore[attr-defined]
    for thread in started:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_an_error_in_the_source_reaches_the_caller() -> None:
    class Broken(ArraySource):
        def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
            raise DataError("the disk went away")

    good = numbered(4)
    with pytest.raises(DataError, match="disk went away"):
        next(batches(Broken(good.spec, good.arrays), batch_size=2, seed=0))


# the cache of decoded sets


def cache_files() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (cache_folder() / "decoded").iterdir()}


def test_the_second_opening_is_served_by_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_source("mnist_5k", split="test")
    files = cache_files()
    assert sorted(name.split(".", 1)[1] for name in files) == ["json", "label.npy", "x.npy"]
    monkeypatch.setitem(sys.modules, "genjax_art.data.tfds", None)  # importing it would now fail
    second = open_source("mnist_5k", split="test")
    everything = np.arange(len(first))
    for name, rows in first.take(everything).items():
        np.testing.assert_array_equal(rows, second.take(everything)[name])
    assert second.spec == first.spec
    assert cache_files() == files


@pytest.mark.parametrize("damage", ["truncate", "flip", "pickle", "json", "json list", "lost"])
def test_a_broken_cache_is_made_again(damage: str, tmp_path: Path) -> None:
    good = open_source("mnist_5k", split="test").take(np.arange(500))
    (x,) = (cache_folder() / "decoded").glob("*.x.npy")
    (meta,) = (cache_folder() / "decoded").glob("*.json")
    content = bytearray(x.read_bytes())
    if damage == "truncate":
        x.write_bytes(content[:1000])
    elif damage == "flip":
        content[5000] ^= 255
        x.write_bytes(content)
    elif damage == "pickle":
        np.save(x, np.array([{"a": 1}], object), allow_pickle=True)
    elif damage == "lost":
        x.unlink()
    else:
        meta.write_text("{" if damage == "json" else "[]")
    again = open_source("mnist_5k", split="test").take(np.arange(500))
    np.testing.assert_array_equal(again["x"], good["x"])
    repaired = np.load(x, allow_pickle=False)
    np.testing.assert_array_equal(repaired, good["x"])


def test_a_changed_prepared_set_is_decoded_again(prepared_sets: Path) -> None:
    open_source("mnist_5k", split="test")
    before = cache_files()
    (record,) = prepared_sets.rglob("mnist_5k-test*array_record*")
    record.touch()
    open_source("mnist_5k", split="test")
    after = cache_files()
    assert after.keys() == before.keys()
    assert all(after[name] > before[name] for name in before)


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENJAX_ART_CACHE", str(tmp_path / "file"))
    assert len(open_source("mnist_5k", split="test")) == 500


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("GENJAX_ART_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "genjax_art"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "genjax_art"


def test_a_set_over_the_limit_stays_random_access(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = open_source("mnist_5k", split="test", size=(20, 14), channels=3)
    for path in (cache_folder() / "decoded").iterdir():
        path.unlink()
    monkeypatch.setattr("genjax_art.data.prepared.IN_MEMORY_LIMIT", 500 * 20 * 14 * 3 - 1)
    records = open_source("mnist_5k", split="test", size=(20, 14), channels=3)
    assert not isinstance(records, ArraySource) and cache_files() == {}
    indices = np.array([499, 3, 3])
    for name, rows in records.take(indices).items():
        np.testing.assert_array_equal(rows, decoded.take(indices)[name])
        assert rows.dtype == decoded.take(indices)[name].dtype


def test_warm_and_cold_opening_do_without_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    code = (
        "import sys; from genjax_art.data.open import open_source; open_source('mnist_5k', split='test');"
        "print([name in sys.modules for name in ('tensorflow', 'tensorflow_datasets', 'PIL', 'pandas')])"
    )
    cold, warm = (
        subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert cold.stdout.startswith("[False, True, True")
    assert warm.stdout.strip() == "[False, False, False, False]"
    assert cold.stderr.count("\n") == 1 and "preparing mnist_5k" in cold.stderr  # that one line, no chatter
    assert warm.stderr == ""


# what cannot be had


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "no_such_set"}, "shipped are .*mnist_5k.*registered"),
        ({"name": "builder"}, "shipped are"),
        ({"name": "../mnist_5k"}, "shipped are"),
        ({"name": "mnist_5k", "split": "trian"}, "train, test, all"),
        ({"name": "mnist_5k", "size": (0, 3)}, "size must be"),
        ({"name": "image_folder"}, "pass folder"),
        ({"name": "image_folder", "folder": "/no/such/folder"}, "does not exist"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_source(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnist_5k", "channels": 2}, "unknown channels of data set mnist_5k '2'; known: 1, 3, 4"),
        (
            {"name": "mnist_5k", "folder": "."},
            "unknown option of data set mnist_5k 'folder'; known: channels, ",
        ),
        ({"name": "ring8", "size": (2, 2)}, "unknown option of data set ring8 'size'; known: split"),
        ({"name": "cifar10", "bars": 2}, "unknown option of data set cifar10 'bars'; known: channels, data_dir, size"),
        ({"name": "no_such_module:build"}, "no module no_such_module for the data set"),
    ],
)
def test_options_that_a_set_does_not_have_are_usage_errors(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_source(**arguments)
    assert "\n" not in str(caught.value)


def test_registered_mnist_is_read_where_it_is_prepared(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(shared_data / "tfds"))
    source = open_source("mnist", split="test[:100]")
    assert source.spec == ArraySpec((28, 28, 1), classes=tuple("0123456789"))
    rows = source.take(np.arange(100))
    assert rows["x"].dtype == np.uint8 and rows["x"].shape == (100, 28, 28, 1)
    assert rows["x"].max() == 255 and len(set(rows["label"].tolist())) == 10
    assert len(open_source("mnist:3.0.1", split="train[:50]", size=(14, 20))) == 50


@pytest.mark.parametrize(
    ("file_format", "message"), [("tfrecord", "prepared as tfrecord"), ("array_record", "cannot be read")]
)
def test_prepared_sets_that_cannot_be_read_are_refused(
    file_format: str, message: str, shared_data: Path, tmp_path: Path
) -> None:
    """tfrecord has no random access; of the array_record set the records are missing."""
    version = tmp_path / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    for path in (shared_data / "tfds" / "mnist" / "3.0.1").glob("*.json"):
        (version / path.name).write_text(path.read_text().replace("array_record", file_format))
    with pytest.raises(DataError, match=message) as caught:
        open_source("mnist", data_dir=tmp_path)
    assert "\n" not in str(caught.value)
