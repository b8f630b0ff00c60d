"""Sets prepared by TensorFlow Datasets, without TensorFlow: found, prepared if need be, read at random."""

import contextlib
import importlib.util
import io
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int

from genjax_art import parts
from genjax_art.data import sets
from genjax_art.data.contract import ArraySource, DataError, NoSplit
from genjax_art.data.features import check_features
from genjax_art.data.recipe import Examples, Recipe
from genjax_art.data.request import Request
from genjax_art.pictures import decode_picture
from genjax_art.spec import ArraySpec

READABLE = ("array_record", "parquet")  # the formats with random access


@dataclass(frozen=True, eq=False)
class RecordSource:
    """A prepared set, decoded example by example (0.15 ms for a digit, more for a photograph)."""

    spec: ArraySpec
    records: Sequence[Any]
    array: str  # the name of the feature which becomes "x"
    encoded: bool  # pictures, as PNG, JPEG, ...
    factors: tuple[str, ...]  # the names of further features: numbers
    prepared: Path  # the folder it is read from

    def __len__(self) -> int:
        return len(self.records)

    @property
    def nbytes(self) -> int:
        """What `decode` would take in memory."""
        return len(self) * self.take(np.zeros(1, np.int64))["x"].nbytes

    def take(self, indices: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        try:
            rows = self.records.__getitems__([int(i) for i in indices])  # type: ignore[attr-defined]
            x = np.stack([self._decode(row[self.array]) for row in rows])
        except Exception as error:
            raise _unreadable(self.prepared, error) from error
        taken = {"x": x if x.dtype == np.uint8 else x.astype(np.float32)}
        if self.spec.classes:
            taken["label"] = np.array([row["label"] for row in rows], np.int32)
        for name in self.factors:
            values = np.array([row[name] for row in rows])
            taken[name] = values.astype(np.float32 if values.dtype.kind == "f" else np.int32)
        return taken

    def _decode(self, stored: Any) -> np.ndarray:
        if not self.encoded:
            return stored
        height, width, channels = self.spec.shape
        return decode_picture(stored, (height, width), channels)

    def decode(self, step: int = 1024) -> ArraySource:
        """Everything at once, in memory."""
        pieces = [self.take(np.arange(i, min(i + step, len(self)))) for i in range(0, len(self), step)]
        return ArraySource(self.spec, {name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]})


def open_records(request: Request, recipe: Recipe | None) -> RecordSource:
    """The source that answers `request`, of a set of ours or (None) a public one, prepared where it is not yet.

    Raises:
      DataError: it cannot be had.
    """
    with _quiet():
        prepared = _prepare_ours(recipe, request) if recipe else _find_registered(request)
        builder = _builder_from(prepared)
        return _open_prepared(builder, recipe, request, prepared)


def _builder_from(prepared: Path) -> tfds.core.DatasetBuilder:
    check_features(prepared)
    try:
        return tfds.builder_from_directory(prepared)
    except Exception as error:
        raise _unreadable(prepared, error) from error


def _prepare_ours(recipe: Recipe, request: Request) -> Path:
    config = tfds.core.BuilderConfig(name=recipe.variant) if recipe.variant else None
    builder = _builder_of(recipe)(config=config, data_dir=str(request.data_dir), file_format="array_record")
    prepared = Path(str(builder.data_path))
    if not _is_prepared(prepared):
        about = f", about {recipe.seconds} s" if recipe.seconds else ""
        print(f"preparing {request.name} in {prepared} (once{about})", file=sys.stderr, flush=True)
        _prepare(builder, request)
    return prepared


def _builder_of(recipe: Recipe) -> type[tfds.core.GeneratorBasedBuilder]:
    """The recipe as TFDS wants it. Not registered there: TFDS has sets of some of our names."""

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        name = recipe.name
        VERSION = tfds.core.Version(recipe.version)
        RELEASE_NOTES: ClassVar[dict[str, str]] = {recipe.version: recipe.notes}

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description=sys.modules[type(recipe).__module__].__doc__,
                features=tfds.features.FeaturesDict(recipe.features()),
                homepage=recipe.homepage,
                metadata=tfds.core.MetadataDict(),
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
            del dl_manager  # nothing to download
            return {name: self._generate_examples(rows) for name, rows in recipe.splits(self.info.metadata).items()}

        def _generate_examples(self, rows: Examples) -> Examples:
            return rows

    return Builder


def _prepare(builder: tfds.core.DatasetBuilder, request: Request) -> None:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    except Exception as error:
        if isinstance(error, FileExistsError) and _is_prepared(Path(str(builder.data_path))):
            return  # another process was faster
        cause: BaseException | None = error
        while cause is not None:  # TFDS wraps what a builder raises
            if isinstance(cause, DataError):
                raise cause from None
            cause = cause.__cause__ or cause.__context__
        raise DataError(f"{request.name} cannot be prepared in {request.data_dir}: {_one_line(error)}") from error


def _find_registered(request: Request) -> Path:
    """The folder of a public set: prepared already, or now (that takes TensorFlow)."""
    base = request.data_dir / request.name.replace(":", "/")
    if found := _newest_version(base):
        file_format = _builder_from(found).info.file_format.value
        if file_format in READABLE:
            return found
        raise DataError(
            f"{found} is prepared as {file_format}, which has no random access: prepare it as array_record "
            f'in another data_dir (that needs pip install -e ".[tensorflow]")'
        )
    if request.name.split("/")[0].split(":")[0] not in tfds.list_builders(with_community_datasets=False):
        raise DataError(
            f"no data set {request.name!r}: shipped are {', '.join(parts.names(sets))}; "
            f"any image set registered with TensorFlow Datasets works as well (mnist, cifar10, ...)"
        )
    if importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"{request.name} is not prepared under {request.data_dir}, and preparing it needs TensorFlow: "
            f'pip install -e ".[tensorflow]", or point data_dir (TFDS_DATA_DIR) to where it is prepared'
        )
    builder = tfds.builder(request.name, data_dir=str(request.data_dir), file_format="array_record")
    print(f"downloading and preparing {request.name} in {builder.data_path} (once)", file=sys.stderr, flush=True)
    _prepare(builder, request)
    return Path(str(builder.data_path))


def _is_prepared(folder: Path) -> bool:
    return (folder / "dataset_info.json").exists()  # TFDS moves a whole set into place


def _newest_version(base: Path) -> Path | None:
    """`base` itself, or the newest version in it (in its only config), if a prepared set lies there."""
    if _is_prepared(base):
        return base
    found = [path.parent for path in base.glob("*/dataset_info.json")]
    if not found:
        found = [path.parent for path in base.glob("*/*/dataset_info.json")]
        configs = sorted({path.parent.name for path in found})
        if len(configs) > 1:
            raise DataError(
                f"{base.name} is prepared in several configs: name one as {base.name}/{{{','.join(configs)}}}"
            )
    return max(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)], default=None)


def _open_prepared(
    builder: tfds.core.DatasetBuilder, recipe: Recipe | None, request: Request, prepared: Path
) -> RecordSource:
    features = builder.info.features
    array, spec = read_features(features, request, recipe)
    factors = () if recipe is None else tuple(sorted(set(features) - {array, "label"}))
    encoded = isinstance(features[array], tfds.features.Image)
    # Pillow decodes: TFDS would take OpenCV on some machines
    records = _open_split(builder, request, prepared, {array: tfds.decode.SkipDecoding()} if encoded else None)
    return RecordSource(spec, records, array, encoded, factors, prepared)


def read_features(features: Any, request: Request, recipe: Recipe | None) -> tuple[str, ArraySpec]:
    """Which of TFDS's features becomes "x", and what the examples are then.

    Raises:
      DataError: a public set without pictures, or whose pictures have no common size while none is asked for.
    """
    array = _array_feature(features, request)
    label = features["label"] if "label" in features else None  # noqa: SIM401 (no Mapping)
    classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else ()
    shape = tuple(features[array].shape)
    if isinstance(features[array], tfds.features.Image):
        return array, ArraySpec((*_size(shape, request), request.channels or shape[-1] or 3), classes=classes)
    if recipe is None:
        raise DataError(f"{request.name} is no image set: its feature {array!r} is {features[array]}")
    return array, ArraySpec(shape, recipe.low, recipe.high, recipe.kind, classes)


def _open_split(
    builder: tfds.core.DatasetBuilder, request: Request, prepared: Path, decoders: dict[str, Any] | None
) -> Sequence[Any]:
    splits = builder.info.splits
    try:
        known = splits[request.split].num_examples > 0
    except (KeyError, ValueError):
        known = False
    if not known:
        raise NoSplit(request.name, request.split, [*splits, "all"])
    try:
        return builder.as_data_source(request.split, decoders=decoders)
    except Exception as error:
        raise _unreadable(prepared, error) from error


def _unreadable(prepared: Path, error: Exception) -> DataError:
    return DataError(f"{prepared} cannot be read ({_one_line(error)}): delete it to prepare it again")


def _array_feature(features: Any, request: Request) -> str:
    images = [name for name, feature in features.items() if isinstance(feature, tfds.features.Image)]
    if "image" in images or "x" in features:
        return "image" if "image" in images else "x"
    if len(images) != 1:
        raise DataError(f"{request.name} is no image set: its features are {', '.join(features)}")
    return images[0]


def _size(shape: tuple[int | None, ...], request: Request) -> tuple[int, int]:
    if request.size:
        return request.size
    height, width = shape[:2]
    if height is None or width is None:
        raise DataError(f"the pictures of {request.name} have no common size: pass size as (height, width)")
    return height, width


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS talks through absl and progress bars; of that only errors pass."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
