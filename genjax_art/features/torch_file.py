"""A state dict saved by PyTorch, as arrays: read without PyTorch, and without unpickling.

Such a file is a pickle, a program that may call anything. Here its opcodes are only looked at: those of a state dict
are followed on a stack of our own, on which a function is a word. Whatever else is asked for is refused by name, and
no code of the file runs. Both formats: the zip archive (since PyTorch 1.6) and the older row of pickles.
"""

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from genjax_art.features.foreign_file import Refused, are_counts, read_foreign, word

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older format
PROTOCOL = 1001
OLDER = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little")
PICKLE = 2**22  # bytes of a pickle; that of Inception v3 has 70 thousand
ORDERED, REBUILD = "collections.OrderedDict", "torch._utils._rebuild_tensor_v2"
STORAGES: Mapping[str, Any] = {
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
}


@dataclass(frozen=True)
class Named:
    """A function or class that the file names; it is never looked up."""

    name: str


@dataclass(frozen=True)
class Storage:
    dtype: np.dtype
    key: str
    count: int


@dataclass(frozen=True)
class Tensor:
    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, as views of what was read.

    Raises:
      RunError: no such file, one that is too large, damaged or no state dict, or one that asks for anything else.
    """
    return read_foreign(path, _read)


def _read(data: bytes) -> dict[str, np.ndarray]:
    if data.startswith(b"PK\x03\x04"):
        return _read_zip(data)
    if data.startswith(OLDER):
        return _read_older(data)
    raise Refused("is no file that torch.save wrote")


def _read_zip(data: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
            raise Refused("has compressed members, which torch.save does not write")
        if sum(m.file_size for m in members) > len(data):
            raise Refused("has members that are larger than itself")
        pickles = [m.filename for m in members if m.filename.count("/") == 1 and m.filename.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused("is no archive that torch.save wrote: it needs one data.pkl")
        top = pickles[0].removesuffix("data.pkl")
        names = {m.filename for m in members}
        if f"{top}byteorder" in names and archive.read(f"{top}byteorder") != b"little":
            raise Refused("is not in little-endian order")
        storages: dict[str, Storage] = {}
        tensors = _tensors(Stack(io.BytesIO(archive.read(pickles[0])), storages, older=False).run())
        contents = {}
        for key, storage in storages.items():
            if f"{top}data/{key}" not in names:
                raise Refused(f"lacks the numbers of storage {word(key)}")
            contents[key] = _numbers(archive.read(f"{top}data/{key}"), storage)
    return {name: _view(name, tensor, contents) for name, tensor in tensors.items()}


def _read_older(data: bytes) -> dict[str, np.ndarray]:
    stream, storages = io.BytesIO(data), {}  # type: tuple[io.BytesIO, dict[str, Storage]]

    def part(of: dict[str, Storage] | None = None) -> Any:
        return Stack(stream, of, older=True).run()

    if part() != MAGIC or part() != PROTOCOL:
        raise Refused(f"is of another version than {PROTOCOL}")
    system = part()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused("is not in little-endian order")
    tensors, keys = _tensors(part(storages)), part()
    if not isinstance(keys, list) or any(not isinstance(key, str) or key not in storages for key in keys):
        raise Refused("lists storages that no tensor has")
    contents = {}
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack("<q", stream.read(8))
        if count != storage.count:
            raise Refused(f"has {count} numbers in storage {word(key)} and speaks of {storage.count}")
        contents[key] = _numbers(stream.read(count * storage.dtype.itemsize), storage)
    if lacking := storages.keys() - contents.keys():
        raise Refused(f"lacks the numbers of storage {word(min(lacking))}")
    return {name: _view(name, tensor, contents) for name, tensor in tensors.items()}


def _tensors(found: Any) -> dict[str, Tensor]:
    if not isinstance(found, dict) or not any(isinstance(value, Tensor) for value in found.values()):
        raise Refused("holds no state dict: save model.state_dict()")
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _numbers(data: bytes, storage: Storage) -> np.ndarray:
    if len(data) != storage.count * storage.dtype.itemsize:
        raise Refused(f"is cut off: storage {word(storage.key)} has {len(data)} bytes for {storage.count} numbers")
    return np.frombuffer(data, storage.dtype)


def _view(name: str, tensor: Tensor, contents: Mapping[str, np.ndarray]) -> np.ndarray:
    """Never more numbers than the storage has, so that a small file takes little memory."""
    numbers, size, stride = contents[tensor.storage.key], tensor.size, tensor.stride
    count: int = prod(size)
    reach = tensor.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > len(numbers) or (count and reach >= len(numbers)):
        raise Refused(f"has a tensor {word(name)} that is larger than its storage")
    if not count:
        return np.zeros(size, numbers.dtype)
    strides = [step * numbers.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], size, strides, writeable=False)


@dataclass
class Stack:
    """The machine of a pickle, for the opcodes in `STEPS` only."""

    stream: io.BytesIO
    storages: dict[str, Storage] | None
    """Filled with those that tensors have; None where there are to be none."""
    older: bool
    """Whether storages are told by six values, not by five."""
    values: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memory: dict[int, Any] = field(default_factory=dict)

    def run(self) -> Any:
        """What the pickle from here on makes; the stream stands behind it then.

        Raises:
          Refused: an opcode or a name that no state dict needs.
        """
        began = self.stream.tell()
        for opcode, argument, _ in pickletools.genops(self.stream):
            if self.stream.tell() - began > PICKLE:
                raise Refused(f"has a pickle of more than {PICKLE} bytes")
            if opcode.name == "STOP":
                break
            if opcode.name not in STEPS:
                raise Refused(f"uses {opcode.name}, which no state dict needs: refused, nothing of it was run")
            STEPS[opcode.name](self, argument)
        if len(self.values) != 1 or self.marks:
            raise Refused("has a pickle that ends in between")
        return self.values[0]

    def push(self, value: Any) -> None:
        self.values.append(value)

    def pop(self, kind: type) -> Any:
        """The topmost value since the last mark."""
        if len(self.values) <= (self.marks[-1] if self.marks else 0):
            raise Refused("has a pickle that takes more than there is")
        if not isinstance(self.values[-1], kind):
            raise Refused(f"has a {type(self.values[-1]).__name__} in the place of a {kind.__name__}")
        return self.values.pop()

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise Refused("has a pickle without the mark that it asks for")
        start = self.marks.pop()
        found = self.values[start:]
        del self.values[start:]
        return found

    def name(self, argument: str) -> None:
        name = argument.replace(" ", ".", 1)
        if name not in (ORDERED, REBUILD, *STORAGES):
            raise Refused(f"names {word(name)}, which no state dict needs: refused, nothing of it was run")
        self.push(Named(name))

    def call(self, _: Any) -> None:
        arguments, called = self.pop(tuple), self.pop(Named)
        if called.name == ORDERED and not arguments:
            self.push({})
        elif called.name == REBUILD:
            self.push(_tensor(arguments))
        else:
            raise Refused(f"calls {called.name} in another way than a state dict does: refused, nothing of it was run")

    def storage(self, _: Any) -> None:
        told = self.pop(tuple)
        plain = len(told) == 5 or (self.older and len(told) == 6 and told[5] is None)
        if self.storages is None or not plain or told[0] != "storage" or not isinstance(told[1], Named):
            kind = told[0] if told and isinstance(told[0], str) else "something"
            raise Refused(f"refers to {word(kind)} in another way than to a tensor's numbers: refused")
        dtype, key, count = STORAGES.get(told[1].name), told[2], told[4]
        if dtype is None or not isinstance(key, str) or not are_counts((count,)):
            raise Refused(f"has a storage of {told[1].name} that cannot be understood")
        found = Storage(dtype, key, count)
        if self.storages.setdefault(key, found) != found:
            raise Refused(f"has two storages {word(key)}")
        self.push(found)

    def items(self, pairs: list[Any]) -> None:
        if len(pairs) % 2 or not all(isinstance(key, str) for key in pairs[::2]):
            raise Refused("has a dict whose keys are not words")
        self.holder(dict).update(zip(pairs[::2], pairs[1::2], strict=True))

    def holder(self, kind: type) -> Any:
        """The topmost value, which stays."""
        value = self.pop(kind)
        self.push(value)
        return value

    def attributes(self, _: Any) -> None:
        """Those of a state dict, its `_metadata`: left out. Nothing else may have any."""
        self.pop(dict)
        self.holder(dict)

    def recall(self, place: int) -> None:
        if place not in self.memory:
            raise Refused("has a pickle that recalls what it did not keep")
        self.push(self.memory[place])


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    if len(arguments) not in (6, 7):
        raise Refused(f"rebuilds a tensor from {len(arguments)} values, not from six")
    storage, offset, size, stride = arguments[:4]
    fits = isinstance(storage, Storage) and isinstance(size, tuple) and isinstance(stride, tuple)
    if not fits or len(size) != len(stride) or len(size) > 8 or not are_counts((offset, *size, *stride)):
        raise Refused("has a tensor of a size that cannot be understood")
    return Tensor(storage, offset, size, stride)


def _pushing(value: Callable[[Any], Any]) -> Callable[[Stack, Any], None]:
    return lambda stack, argument: stack.push(value(argument))


def _tuple_of(n: int) -> Callable[[Stack, Any], None]:
    return lambda stack, _: stack.push(tuple(stack.pop(object) for _ in range(n))[::-1])


STEPS: Mapping[str, Callable[[Stack, Any], None]] = {
    "PROTO": lambda stack, version: None,
    "MARK": lambda stack, _: stack.marks.append(len(stack.values)),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"), _pushing(lambda argument: argument)),
    "NONE": _pushing(lambda _: None),
    "NEWTRUE": _pushing(lambda _: True),
    "NEWFALSE": _pushing(lambda _: False),
    "EMPTY_DICT": _pushing(lambda _: {}),
    "EMPTY_LIST": _pushing(lambda _: []),
    "EMPTY_TUPLE": _pushing(lambda _: ()),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": lambda stack, _: stack.push(tuple(stack.since_mark())),
    "BINPUT": lambda stack, place: stack.memory.__setitem__(place, stack.holder(object)),
    "LONG_BINPUT": lambda stack, place: stack.memory.__setitem__(place, stack.holder(object)),
    "BINGET": Stack.recall,
    "LONG_BINGET": Stack.recall,
    "GLOBAL": Stack.name,
    "REDUCE": Stack.call,
    "BINPERSID": Stack.storage,
    "BUILD": Stack.attributes,
    "SETITEM": lambda stack, _: stack.items([stack.pop(object), stack.pop(object)][::-1]),
    "SETITEMS": lambda stack, _: stack.items(stack.since_mark()),
    "APPEND": lambda stack, _: _append(stack, [stack.pop(object)]),
    "APPENDS": lambda stack, _: _append(stack, stack.since_mark()),
}


def _append(stack: Stack, found: list[Any]) -> None:
    stack.holder(list).extend(found)
