"""Bach's four-part chorales in windows of four bars; else as `chorales`."""

from typing import ClassVar

from genjax_art.data.chorales import Chorales


class Chorales4bar(Chorales):
    """Bach's four-part chorales in windows of four bars."""

    name = "chorales_4bar"
    bars: ClassVar[int] = 4
