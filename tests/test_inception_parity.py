"""Inception v3 layer by layer against the network that torch-fidelity measures FIDs by, with random weights.

They keep the variance of what goes through: the usual first weights let it fade to nothing, and nothings are alike.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from genjax_art.data.contract import array_source
from genjax_art.features import inception_v3
from genjax_art.features.extractor import build_extractor
from genjax_art.features.inception_network import InceptionV3, resized
from genjax_art.features.inception_v3 import from_checkpoint
from genjax_art.features.network import deep
from genjax_art.features.torch_file import read_torch

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")
CLOSE = 1e-4  # of the spread of a layer's outputs


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Their network, and the folder with its weights in both formats."""
    pytest.importorskip("torch_fidelity")
    from torch_fidelity import feature_extractor_inceptionv3 as module

    folder = tmp_path_factory.mktemp("inception")
    with pytest.MonkeyPatch.context() as patch:  # it would fetch its weights
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        net = module.FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"])
    draw = torch.Generator().manual_seed(0)
    for name, tensor in net.state_dict().items():
        normal = torch.randn(tensor.shape, generator=draw)
        if name.endswith("conv.weight"):
            tensor.copy_(normal * (2 / tensor[0].numel()) ** 0.5)
        elif name.endswith(("bn.weight", "bn.running_var")):
            tensor.copy_(torch.rand(tensor.shape, generator=draw) * 0.4 + 0.8)
        elif name.endswith(("bn.bias", "bn.running_mean")):
            tensor.copy_(normal * 0.1)
        elif name == "fc.weight":
            tensor.copy_(normal * 0.02)
    torch.save(net.state_dict(), folder / "zip.pth")
    torch.save(net.state_dict(), folder / "older.pth", _use_new_zipfile_serialization=False)
    return net, folder


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(1)
    blocks = np.kron(rng.integers(0, 256, (8, 10, 3), np.uint8), np.ones((5, 6, 1), np.uint8))
    return [blocks, *(rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((330, 210), (299, 299)))]


def channels_first(picture):
    return torch.from_numpy(np.moveaxis(picture, -1, 0)[None].copy())


def last(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


@pytest.mark.parametrize("name", ["zip.pth", "older.pth"])
def test_files_of_torch_are_read_as_torch_reads_them(theirs, name):
    net, folder = theirs
    found, expected = read_torch(folder / name), net.state_dict()
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        np.testing.assert_array_equal(found[key], tensor.numpy(), strict=True)


def test_resize_is_theirs_to_the_last_bit(theirs, pictures):
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resize

    for picture in pictures:
        expected = resize(channels_first(picture).float(), size=(299, 299), align_corners=False)
        found = resized(jnp.asarray(picture[None], jnp.float32))
        np.testing.assert_array_equal(found, last(expected))


def test_each_layer_is_theirs(theirs, pictures):
    net, folder = theirs
    outputs = {}
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: outputs.setdefault(name, []).append(last(out)))
        for name, module in net.named_modules()
        if name.startswith(("Conv2d", "Mixed")) and not name.endswith((".conv", ".bn"))
    ]
    results = [[part.numpy() for part in net(channels_first(picture))] for picture in pictures]
    for hook in hooks:
        hook.remove()
    variables = deep(from_checkpoint(read_torch(folder / "older.pth"), folder))

    def watched(x):
        return InceptionV3().apply(variables, x, capture_intermediates=True, mutable=["intermediates"])

    # of their size already, where resizing once more changes nothing
    x = jnp.concatenate([resized(jnp.asarray(picture[None], jnp.float32)) for picture in pictures])
    found, between = jax.device_get(jax.jit(watched)(x))
    layers = flatten_dict(between["intermediates"], sep=".")
    assert len(outputs) == 94 + 11
    wrong = {name: apart(layers[f"{name}.__call__"][0], np.concatenate(of)) for name, of in outputs.items()}
    for name, of in zip(("features", "logits"), zip(*results, strict=True), strict=True):
        wrong[name] = apart(found[name], np.concatenate(of))
    assert max(wrong.values()) < CLOSE, {name: error for name, error in wrong.items() if error >= CLOSE}


def apart(ours, expected):
    """The largest difference over the spread, of a layer that has some."""
    assert ours.shape == expected.shape and expected.std() > 0.01
    return float(np.abs(ours - expected).max() / expected.std())


def test_the_extractor_is_theirs_for_grey_picture_files(theirs, pictures, monkeypatch):
    net, folder = theirs
    monkeypatch.setattr(inception_v3, "PIECE", 2)  # three are two pieces, the second one filled up
    x = np.stack([pictures[0][::step, :, :1] for step in (1, -1)] + [pictures[0][..., 1:2]])
    source = array_source(x)
    extractor = build_extractor("inception-v3", source, source, weights=folder / "zip.pth")
    found = extractor.of(x.astype(np.float32) / 127.5 - 1)
    expected = net(torch.from_numpy(np.moveaxis(x.repeat(3, -1), -1, 1).copy()))
    for name, of in zip(("features", "logits"), expected, strict=True):
        assert apart(found[name], of.numpy()) < CLOSE
    assert extractor.figure("FD") == "FID" and extractor.classes == "ImageNet"
