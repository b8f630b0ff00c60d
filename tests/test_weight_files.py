"""Files of weights from strangers: PyTorch's formats, read without PyTorch, and .safetensors; nothing of them runs."""

import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest

from genjax_art.errors import RunError
from genjax_art.features import foreign_file, torch_file
from genjax_art.features.safetensors_file import read_safetensors
from genjax_art.features.torch_file import MAGIC, PROTOCOL, STORAGES, read_torch

SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


@dataclass
class Numbers:
    """A storage: pickled by reference."""

    array: np.ndarray
    key: str
    count: int | None = None


@dataclass
class Saved:
    """A tensor as torch.save writes it."""

    numbers: Numbers
    size: tuple
    stride: tuple
    offset: int = 0

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (self.numbers, self.offset, self.size, self.stride, False, OrderedDict())


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """Modules that have the names of PyTorch's, for the pickler to find."""
    torch, inner = ModuleType("torch"), ModuleType("torch._utils")
    torch._utils = inner

    def _rebuild_tensor_v2():
        raise AssertionError("called")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in STORAGES:
        name = name.removeprefix("torch.")
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)


def pickled(value, older):
    """The pickle, and the storages in it."""
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, found):
            if not isinstance(found, Numbers):
                return None
            storages[found.key] = found.array
            (name,) = (name for name, dtype in STORAGES.items() if dtype == found.array.dtype)
            kind = getattr(sys.modules["torch"], name.removeprefix("torch."))
            count = len(found.array) if found.count is None else found.count
            return ("storage", kind, found.key, "cpu", count, *((None,) if older else ()))

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(value)
    return stream.getvalue(), storages


def older(value, keys=None, system=SYSTEM):
    program, storages = value if isinstance(value, tuple) else pickled(value, older=True)
    parts = [pickle.dumps(part, protocol=2) for part in (MAGIC, PROTOCOL, system)]
    parts += [program, pickle.dumps(list(storages) if keys is None else keys, protocol=2)]
    parts += [struct.pack("<q", len(array)) + array.tobytes() for array in storages.values()]
    return b"".join(parts)


def archive(value, compression=zipfile.ZIP_STORED, **members):
    program, storages = value if isinstance(value, tuple) else pickled(value, older=False)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, data in {"data.pkl": program, "byteorder": b"little", **members}.items():
            file.writestr(f"weights/{name}", data)
        for key, array in storages.items():
            file.writestr(f"weights/data/{key}", array.tobytes())
    return stream.getvalue()


FORMATS = pytest.mark.parametrize("write", [archive, older], ids=["zip", "older"])


def whole(array, key):
    stride = tuple(step // array.itemsize for step in array.strides)
    return Saved(Numbers(array.reshape(-1), key), array.shape, stride)


def state(**tensors):
    """As `module.state_dict()` has it, with an attribute of its own."""
    found = OrderedDict(tensors)
    found._metadata = OrderedDict({"": {"version": 1}})
    return found


def read(tmp_path, data, of=read_torch):
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    return of(path)


def refused(tmp_path, data, message, of=read_torch):
    with pytest.raises(RunError, match=message) as error:
        read(tmp_path, data, of)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500 + len(str(tmp_path))


WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7


@FORMATS
def test_tensors_are_read_as_they_were_saved(tmp_path, write):
    numbers = Numbers(np.arange(10, dtype=np.float32), "shared")
    half, counts = np.float16([[1.5, -2]]), np.int64([7])
    found = read(
        tmp_path,
        write(
            state(
                **{"a.weight": whole(WEIGHT, "0"), "a.half": whole(half, "1")},
                turned=Saved(numbers, (2, 3), (1, 3), offset=1),
                row=Saved(numbers, (4,), (2,), offset=3),
                scalar=Saved(Numbers(counts, "2"), (), ()),
                empty=Saved(Numbers(np.zeros(0, np.uint8), "3"), (0, 3), (3, 1)),
                note=3,
            )
        ),
    )
    expected = {
        "a.weight": WEIGHT,
        "a.half": half,
        "turned": np.float32([[1, 4, 7], [2, 5, 8]]),
        "row": np.float32([3, 5, 7, 9]),
        "scalar": np.int64(7),
        "empty": np.zeros((0, 3), np.uint8),
    }
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


SYSTEM_CALL = f"{os.system.__module__}.system"


class Evil:
    def __init__(self, call, *arguments):
        self.how = call, arguments

    def __reduce__(self):
        return self.how


@FORMATS
@pytest.mark.parametrize("place", ["value", "nested", "metadata"])
def test_what_a_pickle_would_run_is_refused_by_name_and_not_run(tmp_path, write, place):
    mark = tmp_path / "ran"
    shell, python = Evil(os.system, f"touch {mark}"), Evil(eval, f"open({str(mark)!r}, 'w')")
    for evil, name in ((shell, SYSTEM_CALL), (python, "__builtin__.eval")):
        value = {"value": state(w=evil), "nested": state(w=whole(WEIGHT, "0"), x=[(evil,)]), "metadata": state(w=3)}
        value["metadata"]._metadata[""] = evil
        refused(tmp_path, write(value[place]), f"names {name}, which no state dict needs")
    assert not mark.exists()


def test_every_pickle_of_the_older_format_is_watched(tmp_path):
    mark = tmp_path / "ran"
    evil = Evil(os.system, f"touch {mark}")
    good = state(w=whole(WEIGHT, "0"))
    for data in (older(good, system=evil), older(good, keys=evil), older(good, keys=[evil])):
        refused(tmp_path, data, f"names {SYSTEM_CALL}")
    assert not mark.exists()


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
TOLD = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
PROGRAMS = {
    "uses EXT1, which": b"\x80\x02\x82\x01.",
    "uses EXT4, which": b"\x80\x02\x84\x01\x00\x00\x00.",
    "uses SHORT_BINUNICODE": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "uses INST, which": b"(ios\nsystem\n.",
    "uses OBJ, which": b"(ccollections\nOrderedDict\no.",
    "uses NEWOBJ, which": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "uses PERSID, which": b"Pstorage\n.",
    "names torch.load": b"ctorch\nload\n.",
    "names torch._utils._rebuild_parameter": b"ctorch._utils\n_rebuild_parameter\n.",
    r"names o\\x1bs.system": b"co\x1bs\nsystem\n.",
    "calls torch.FloatStorage": b"ctorch\nFloatStorage\n)R.",
    "calls collections.OrderedDict": b"ccollections\nOrderedDict\n]\x85R.",
    "rebuilds a tensor from 1 values": TENSOR + b"K\x01\x85R.",
    "a dict in the place of a Named": b"})R.",
    "a Named in the place of a dict": b"ccollections\nOrderedDict\n}b.",
    "a Tensor in the place of a dict": TENSOR + b"(" + TOLD + b"K\x01tQK\x00))\x89}tR}b.",
    "refers to module": b"(X\x06\x00\x00\x00modulectorch\nFloatStorage\nNNNtQ.",
    "refers to storage": TOLD + b"K\x01K\x01K\x01tQ.",
    "refers to something": b")Q.",
    "an? int in the place of a tuple": b"K\x01Q.",
    "a storage of torch._utils._rebuild_tensor_v2": TOLD.replace(b"torch\nFloatStorage", TENSOR[1:-1]) + b"K\x01tQ.",
    "a storage of torch.FloatStorage": TOLD + b"J\xff\xff\xff\xfftQ.",
    "keys are not words": b"}]K\x01s.",
    "takes more": b"}s.",
    "without the mark": b"u.",
    "recalls what": b"h\x05.",
    "ends in between": b"}(.",
    "holds no state dict": b"}.",
}


@pytest.mark.parametrize("message", PROGRAMS)
def test_opcodes_that_no_state_dict_needs_are_refused(tmp_path, message):
    refused(tmp_path, archive((PROGRAMS[message], {})), message)


@FORMATS
@pytest.mark.parametrize(
    "tensor",
    [
        Saved(Numbers(np.zeros(4, np.float32), "0"), (5,), (1,)),
        Saved(Numbers(np.zeros(4, np.float32), "0"), (2,), (1,), offset=3),
        Saved(Numbers(np.zeros(4, np.float32), "0"), (2, 2), (3, 1)),
        Saved(Numbers(np.zeros(4, np.float32), "0"), (1000, 1000), (0, 0)),
        Saved(Numbers(np.zeros(4, np.float32), "0"), (-1, -4), (1, 1)),
        Saved(Numbers(np.zeros(4, np.float32), "0"), (2,), (-1,), offset=3),
        Saved(Numbers(np.zeros(4, np.float32), "0"), (True,), (1,)),
        Saved(Numbers(np.zeros(4, np.float32), "0"), (2,), (1, 1)),
        Saved(Numbers(np.zeros(4, np.float32), "0"), (1,) * 99, (1,) * 99),
        Saved(Numbers(np.zeros(4, np.float32), "0", count=2**28), (2**28,), (1,)),
        Saved(Numbers(np.zeros(4, np.float32), "0", count=2**62), (1,), (1,)),
    ],
)
def test_tensors_beyond_their_numbers_are_refused(tmp_path, write, tensor):
    refused(tmp_path, write(state(w=tensor)), "larger than its storage|cannot be understood|numbers")


def test_archives_that_torch_does_not_write_are_refused(tmp_path):
    good = state(w=whole(WEIGHT, "0"))
    refused(tmp_path, archive(good, zipfile.ZIP_DEFLATED), "compressed members")
    refused(tmp_path, archive(good, byteorder=b"big"), "little-endian")
    refused(tmp_path, archive(good, **{"extra/../data.pkl": b""})[:-30], "damaged|cut off")
    refused(tmp_path, archive((pickled(good, False)[0], {})), "lacks the numbers of storage 0")
    refused(tmp_path, older(good, keys=[]), "lacks the numbers of storage 0")
    refused(tmp_path, older(good, keys=["1"]), "storages that no tensor has")
    refused(tmp_path, older(good, system={**SYSTEM, "little_endian": False}), "little-endian")
    refused(tmp_path, older([1, 2]), "holds no state dict")
    for data in (b"", b"\x80\x02K\x01.", pickle.dumps(good._metadata)):
        refused(tmp_path, data, "no file that torch.save wrote")


def test_files_that_are_not_there_or_too_large_are_refused(tmp_path, monkeypatch):
    for of in (read_torch, read_safetensors):
        with pytest.raises(RunError, match="cannot be read: No such file"):
            of(tmp_path / "nothing.pth")
        with pytest.raises(RunError, match="cannot be read: Is a directory"):
            of(tmp_path)
    data = archive(state(w=whole(WEIGHT, "0")))
    monkeypatch.setattr(torch_file, "PICKLE", 50)
    refused(tmp_path, data, "a pickle of more than 50 bytes")
    monkeypatch.setattr(foreign_file, "MOST", 100)
    refused(tmp_path, data, "more than 100")


def safetensors(header, numbers=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


def entry(start, stop, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


GOOD = safetensors(
    {"b": entry(8, 14, (3, 1), "F16"), "__metadata__": {"format": "pt"}, "a": entry(0, 8), "none": entry(14, 14, (0,))},
    np.float32([1.5, -2]).tobytes() + np.float16([1, 2, 3]).tobytes(),
)


def test_safetensors_are_read(tmp_path):
    found = read(tmp_path, GOOD, read_safetensors)
    expected = {"a": np.float32([1.5, -2]), "b": np.float16([[1], [2], [3]]), "none": np.zeros(0, np.float32)}
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (safetensors({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "numbers of another tensor in b"),
        (safetensors({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8)), "numbers of another tensor in b"),
        (safetensors({"a": entry(0, 8), "b": entry(12, 20)}, bytes(20)), "a gap before b"),
        (safetensors({"a": entry(0, 8)}, bytes(4)), "end at 8 of 4 bytes"),
        (safetensors({"a": entry(0, 8)}, bytes(9)), "end at 8 of 9 bytes"),
        (safetensors({"a": entry(0, 2**60, (2**58,))}), "size that cannot be understood"),
        (safetensors({"a": entry(-8, 0)}), "size that cannot be understood"),
        (safetensors({"a": entry(8, 0)}, bytes(8)), "has -8 bytes for a"),
        (safetensors({"a": entry(0, 4)}, bytes(4)), "has 4 bytes for a"),
        (safetensors({"a": {**entry(0, 4), "shape": [True]}}, bytes(4)), "cannot be understood"),
        (safetensors({"a": {**entry(0, 4), "shape": "1"}}, bytes(4)), "cannot be understood"),
        (safetensors({"a": {**entry(0, 4), "data_offsets": [0]}}, bytes(4)), "cannot be understood"),
        (safetensors({"a": entry(0, 4, dtype="BF16")}, bytes(4)), "has numbers BF16 in a; known: F64"),
        (safetensors({"a": 3}), "says nothing of a"),
        (safetensors([1]), "no table"),
        (safetensors(b'{"a": 1, "a": 2}'), "a name twice"),
        (safetensors(b"{"), "damaged"),
        (safetensors(b"\xff"), "damaged"),
        (safetensors(b"[" * 100_000), "damaged"),
        (safetensors(b'{"a": ' + b"9" * 5000 + b"}"), "damaged"),
        ((2**63).to_bytes(8, "little") + b"{}", "header does not end"),
        (b"", "header does not end"),
    ],
)
def test_safetensors_that_do_not_fit_are_refused(tmp_path, data, message):
    refused(tmp_path, data, message, read_safetensors)


@pytest.mark.parametrize("kind", ["zip", "older", "safetensors"])
def test_cut_and_damaged_files_are_read_or_refused(tmp_path, kind):
    good = state(w=whole(WEIGHT[0], "0"), v=whole(np.int64([7]), "1"))
    data = {"zip": archive(good), "older": older(good), "safetensors": GOOD}[kind]
    of = read_safetensors if kind == "safetensors" else read_torch
    for cut in range(0, len(data), 1 + len(data) // 200):
        refused(tmp_path, data[:cut], "weights.pth", of)
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[at] = rng.integers(256)
        try:
            read(tmp_path, bytes(changed), of)
        except RunError as error:
            assert "\n" not in str(error)
