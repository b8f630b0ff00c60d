"""GANs and VAEs for pictures, music and video as pure JAX functions."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genjax_art.run.load import Run as Run
    from genjax_art.run.load import load_run as load_run

__all__ = ["Run", "load_run"]


def __getattr__(name: str) -> Any:
    """`load_run` and `Run`, imported when they are asked for: an import of a room alone stays light."""
    if name in __all__:
        from genjax_art.run import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
