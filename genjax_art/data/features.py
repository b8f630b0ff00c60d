"""What a prepared set may say of its features: nothing that would be imported from elsewhere.

TFDS imports whatever class `features.json` names. A prepared set may come from anybody, and the working directory may
hold anything, so its names are checked against TFDS's own classes first.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genjax_art.data.contract import DataError

FILE = "features.json"
MAX_BYTES = 2**24
HOME = "tensorflow_datasets.core.features."
CLASSES = {
    HOME + name
    for name in (
        "audio_feature.Audio",
        "bounding_boxes.BBoxFeature",
        "class_label_feature.ClassLabel",
        "dataset_feature.Dataset",
        "features_dict.FeaturesDict",
        "image_feature.Image",
        "labeled_image.LabeledImage",
        "scalar.Scalar",
        "sequence_feature.Sequence",
        "tensor_feature.Tensor",
        "text_feature.Text",
        "translation_feature.Translation",
        "translation_feature.TranslationVariableLanguages",
        "video_feature.Video",
    )
}
# keys whose words TFDS takes for names of classes; the last one in old sets
NAMING = ("pythonClassName", "python_class_name", "type")


def check_features(prepared: Path) -> None:
    """Refuses a prepared set whose features are not all of TFDS's own classes.

    Raises:
      DataError: there is another class, or its `features.json` cannot be read.
    """
    path = prepared / FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES // 2**20} MB, which no description of features is")
        named = list(_class_names(json.loads(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return  # TFDS says what is missing
    except RecursionError:
        raise DataError(f"{path} is nested too deeply") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read ({' '.join(str(error).split())}): delete {prepared}") from None
    if others := sorted(set(named) - CLASSES):
        raise DataError(
            f"{path} names {others[0][:100]!r}, which is no feature of TensorFlow Datasets and is not imported: "
            "prepare the set with features of its own"
        )


def _class_names(value: Any) -> Iterator[str]:
    """Every word in the place of a class, at any depth; old sets keep descriptions as JSON within a word."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in NAMING and isinstance(item, str):
                yield item
            yield from _class_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _class_names(item)
    elif isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            inner = json.loads(value)
        except ValueError:
            return
        yield from _class_names(inner)
