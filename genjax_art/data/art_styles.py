"""Twelve styles of drawing, each a function of the plane: which of five inks lies at a point.

A style gets coordinates (u, v) of many points, already moved, turned and scaled (v points down; the picture
spans about -1 to 1), and a random generator for what the ground-truth factors do not say. It returns an index
map: 0 is the ground, 1 to 4 are inks. Colours come in only afterwards, from palettes that all styles share,
so that colour alone does not tell the style.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int8, Int64, Shaped, UInt8

Plane = Float32[np.ndarray, "s s"]
Inks = Int8[np.ndarray, "s s"]
Style = Callable[[Plane, Plane, np.random.Generator], Inks]

NEIGHBOURS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]

# light, dark, and three colours; the ground is the light or the dark one
PALETTES = (
    ("f4ecd8", "1d2f3f", "d1495b", "edae49", "00798c"),
    ("fdf6e3", "2b2d42", "ef233c", "8d99ae", "f2a541"),
    ("f1faee", "1d3557", "e63946", "457b9d", "a8dadc"),
    ("fefae0", "283618", "606c38", "dda15e", "bc6c25"),
    ("f7ede2", "3d405b", "e07a5f", "81b29a", "f2cc8f"),
    ("edf2f4", "240046", "7b2cbf", "ff6d00", "ff9e00"),
    ("fff1e6", "22223b", "c9184a", "ff758f", "4a4e69"),
    ("e9f5db", "132a13", "31572c", "90a955", "f9c74f"),
    ("eaf4f4", "03045e", "0077b6", "00b4d8", "ffb703"),
    ("f8f9fa", "212529", "e4572e", "17bebb", "ffc914"),
    ("f6e7cb", "370617", "9d0208", "e85d04", "faa307"),
    ("ffe5ec", "10002b", "3a86ff", "8338ec", "fb5607"),
)


def colour_fields(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """A grid of rectangles between lines, in the manner of Mondrian."""
    cuts_u, cuts_v = (np.cumsum(rng.uniform(0.25, 0.75, 16)).astype(np.float32) - 4 for _ in range(2))
    inks = rng.choice(np.arange(1, 5), (17, 17), p=[0.2, 0.3, 0.25, 0.25]).astype(np.int8)
    field = inks[np.searchsorted(cuts_u, u), np.searchsorted(cuts_v, v)]
    return np.where(np.minimum(_nearest(cuts_u, u), _nearest(cuts_v, v)) < 0.04, np.int8(0), field)


def stripes(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """Parallel stripes of various widths; no two neighbours alike."""
    del v
    cuts = np.cumsum(rng.uniform(0.08, 0.36, 40)).astype(np.float32) - 4
    inks = np.cumsum(rng.integers(1, 5, 41)) % 5
    return inks.astype(np.int8)[np.searchsorted(cuts, u)]


def discs(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """Discs of various sizes, one over the other, some with a core."""
    inks = np.zeros(u.shape, np.int8)
    for i in range(18):
        radius = 0.62 * 0.91**i
        x, y = rng.uniform(-1.6, 1.6, 2)
        distance = (u - np.float32(x)) ** 2 + (v - np.float32(y)) ** 2
        ink, core = rng.permutation(4)[:2] + 1
        inks[distance < radius**2] = ink
        if rng.random() < 0.5:
            inks[distance < (0.45 * radius) ** 2] = core
    return inks


def hexagons(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """A honeycomb; the ink of a cell is random, its rim is the ground."""
    size = np.float32(0.42)
    step_u, step_v = (
        np.float32(1),
        np.float32(3**0.5),
    )  # two interleaved rectangular lattices make a hexagonal one
    a, b = u / size, v / size
    u1, v1 = _centred(a, step_u), _centred(b, step_v)
    u2, v2 = _centred(a - step_u / 2, step_u), _centred(b - step_v / 2, step_v)
    first = u1**2 + v1**2 < u2**2 + v2**2
    du, dv = np.where(first, u1, u2), np.where(first, v1, v2)
    inside = np.maximum(np.abs(du) * np.float32(0.5) + np.abs(dv) * np.float32(0.75**0.5), np.abs(du)) < 0.44
    column, row = np.rint(2 * (a - du)).astype(np.int64), np.rint((b - dv) / (step_v / 2)).astype(np.int64)
    return np.where(inside, _cell_inks(column, row, rng), np.int8(0))


def flow_lines(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """Bands that flow along a smooth random field, in the ground between them."""
    height = 0.8 * v + _waves(u, v, rng, count=4, slowest=1.2, fastest=3.2, amplitude=0.16)
    level = height * np.float32(4.2)
    band = np.floor(level)
    inks = rng.integers(1, 5, 64).astype(np.int8)[band.astype(np.int64) % 64]
    return np.where(level - band < 0.52, inks, np.int8(0))


def arcs(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """Concentric arcs of random extent and ink."""
    radius = np.hypot(u, v) / np.float32(0.19)
    ring = np.floor(radius).astype(np.int64)
    angle = np.arctan2(v, u)
    start = rng.uniform(-np.pi, np.pi, 32).astype(np.float32)[ring]
    extent = rng.uniform(1.6, 5.2, 32).astype(np.float32)[ring]
    inks = rng.integers(1, 5, 32).astype(np.int8)[ring]
    return np.where(((angle - start) % np.float32(2 * np.pi) < extent) & (radius - ring < 0.76), inks, np.int8(0))


def truchet(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """Square tiles with two quarter circles each, turned at random: winding ribbons with a rim."""
    a, b = u / np.float32(0.46), v / np.float32(0.46)
    column, row = np.floor(a), np.floor(b)
    x, y = a - column, b - row
    turned = rng.random((64, 64)) < 0.5
    x = np.where(turned[column.astype(np.int64) % 64, row.astype(np.int64) % 64], 1 - x, x)
    near = np.minimum(np.abs(np.hypot(x, y) - 0.5), np.abs(np.hypot(1 - x, 1 - y) - 0.5))
    ribbon, rim = (rng.permutation(4)[:2] + 1).astype(np.int8)
    return np.where(near < 0.12, ribbon, np.where(near < 0.21, rim, np.int8(0)))


def voronoi(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """Irregular cells around random points, divided by the ground: stained glass."""
    x, y, cell = _square_cells(u, v, 0.52)
    centre_x, centre_y = rng.uniform(-0.45, 0.45, (2, 64, 64)).astype(np.float32)
    names = np.arange(64 * 64).reshape(64, 64)
    nearest, second = (np.full(u.shape, 9.0, np.float32) for _ in range(2))  # squared distances
    owner = np.zeros(u.shape, np.int64)
    for i, j in NEIGHBOURS:
        there_x, there_y = (
            _at(centre_x + np.float32(i), cell, i, j),
            _at(centre_y + np.float32(j), cell, i, j),
        )
        distance = (x - there_x) ** 2 + (y - there_y) ** 2
        second = np.minimum(second, np.maximum(nearest, distance))
        owner = np.where(distance < nearest, _at(names, cell, i, j), owner)
        nearest = np.minimum(nearest, distance)
    inside = np.sqrt(second) - np.sqrt(nearest) > 0.1
    return np.where(inside, _cell_inks(owner // 64, owner % 64, rng), np.int8(0))


def mountains(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """Ranges one before the other, under a sun."""
    sun, *ranges = rng.permutation(4) + 1
    inks = np.zeros(u.shape, np.int8)
    inks[(u - np.float32(rng.uniform(-0.5, 0.5))) ** 2 + (v + np.float32(0.5)) ** 2 < 0.3**2] = sun
    for i, base in enumerate((-0.35, 0.0, 0.35, 0.7, 1.05)):
        ridge = np.zeros_like(u)
        for octave in range(4):
            phase = u * np.float32(rng.uniform(0.55, 0.8) * 1.9**octave) + np.float32(rng.uniform(0, 1))
            ridge += np.abs(_centred(phase, np.float32(1))) * np.float32(0.95 / 1.9**octave)
        inks[v > ridge - np.float32(0.38) + np.float32(base)] = ranges[i % 3]
    return inks


def halftone(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """A raster of dots whose size follows a smooth shade; the ink changes with a second one."""
    cell = np.float32(0.26)
    du, dv = _centred(u, cell), _centred(v, cell)
    x, y = u - du, v - dv  # the centre of the dot
    shade = 0.5 + _waves(x, y, rng, count=3, slowest=0.6, fastest=2.0, amplitude=0.3)
    radius = cell * np.clip(shade, 0.14, 1.0) * np.float32(0.56)
    one, other = (rng.permutation(4)[:2] + 1).astype(np.int8)
    inks = np.where(_waves(x, y, rng, count=2, slowest=0.6, fastest=1.4, amplitude=1.0) > 0, one, other)
    return np.where(du**2 + dv**2 < radius**2, inks, np.int8(0))


def scribble(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """Loose strokes of a pen whose heading wanders at random."""
    inks = np.zeros(u.shape, np.int8)
    size = u.shape[0]
    # the inverse of the linear map (column, row) -> (u, v), read off at three corners of the plane
    along, down = (np.array([plane[0, -1] - plane[0, 0], plane[-1, 0] - plane[0, 0]]) / (size - 1) for plane in (u, v))
    to_pixels = np.linalg.inv(np.stack([along, down]))
    thick = max(1.0, 0.034 / float(np.hypot(along[0], down[0])))
    reach = int(np.ceil(thick))
    for ink in rng.permutation(4)[:3] + 1:
        heading = np.cumsum(np.cumsum(rng.normal(0, 0.006, 700)) + rng.normal(0, 0.03, 700)) + rng.uniform(0, 6.28)
        path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)]), axis=1) * 0.016
        path += rng.uniform(-0.5, 0.5, (2, 1)) - path.mean(axis=1, keepdims=True)
        columns, rows = np.rint(to_pixels @ (path - np.array([[u[0, 0]], [v[0, 0]]]))).astype(np.int64)
        seen = (columns > -1) & (columns < size) & (rows > -1) & (rows < size)
        line = np.zeros((size + 2 * reach, size + 2 * reach), bool)
        line[rows[seen] + reach, columns[seen] + reach] = True
        drawn = np.zeros(u.shape, bool)
        for i in range(-reach, reach + 1):
            for j in range(-reach, reach + 1):
                if i * i + j * j <= thick * thick:
                    drawn |= line[reach + i : reach + i + size, reach + j : reach + j + size]
        inks[drawn] = ink
    return inks


def schotter(u: Plane, v: Plane, rng: np.random.Generator) -> Inks:
    """Outlined squares in rows, falling into disorder downwards (after Georg Nees, 1968)."""
    x, y, cell = _square_cells(u, v, 0.44)
    row = (np.arange(64) + 32) % 64 - 32
    disorder = np.clip((row + 4) / 7, 0, 1).astype(np.float32)
    turn, shift_x, shift_y = rng.uniform(-1, 1, (3, 64, 64)).astype(np.float32) * disorder
    cos, sin = np.cos(turn), np.sin(turn)
    shift_x, shift_y = shift_x * np.float32(0.35), shift_y * np.float32(0.35)
    checks = (rng.permutation(4)[:2] + 1).astype(np.int8)[(np.arange(64)[:, None] + np.arange(64)) % 2]
    inks = np.zeros(u.shape, np.int8)
    for i, j in NEIGHBOURS:
        dx, dy = x - _at(shift_x + np.float32(i), cell, i, j), y - _at(shift_y + np.float32(j), cell, i, j)
        c, s = _at(cos, cell, i, j), _at(sin, cell, i, j)
        edge = np.maximum(np.abs(c * dx + s * dy), np.abs(c * dy - s * dx))
        inks = np.where(np.abs(edge - np.float32(0.4)) < 0.085, _at(checks, cell, i, j), inks)
    return inks


STYLES: dict[str, Style] = {
    style.__name__: style
    for style in (
        colour_fields,
        stripes,
        discs,
        hexagons,
        flow_lines,
        arcs,
        truchet,
        voronoi,
        mountains,
        halftone,
        scribble,
        schotter,
    )
}


def draw(
    style: str,
    pixels: int,
    *,
    palette: int,
    scale: float,
    rotation: float,
    x: float,
    y: float,
    rng: np.random.Generator,
    oversampling: int = 4,
) -> UInt8[np.ndarray, "pixels pixels 3"]:
    """One square RGB picture. `scale` multiplies all lengths, `rotation` is in radians (clockwise),
    (`x`, `y`) is where the origin of the drawing lies (-1 to 1 is the picture, y points down)."""
    size = pixels * oversampling
    grid = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - np.float32(1)
    right, down = grid[None, :] - np.float32(x), grid[:, None] - np.float32(y)
    cos, sin = np.float32(np.cos(rotation) / scale), np.float32(np.sin(rotation) / scale)
    light_ground = rng.random() < 0.5
    inks = STYLES[style](cos * right + sin * down, cos * down - sin * right, rng)
    table = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in PALETTES[palette]], np.float32)
    colours = (table if light_ground else table[[1, 0, 2, 3, 4]])[inks]
    blocks = colours.reshape(pixels, oversampling, pixels, oversampling, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def _nearest(cuts: Float32[np.ndarray, " n"], t: Plane) -> Plane:
    """The distance from `t` to the nearest of the sorted `cuts`."""
    i = np.clip(np.searchsorted(cuts, t), 1, len(cuts) - 1)
    return np.minimum(np.abs(t - cuts[i - 1]), np.abs(cuts[i] - t))


def _centred(t: Plane, period: np.float32) -> Plane:
    """`t` modulo `period`, within half a period of zero."""
    return t - period * np.rint(t / period)


def _square_cells(u: Plane, v: Plane, size: float) -> tuple[Plane, Plane, Int64[np.ndarray, "s s"]]:
    """Where a point lies in its square cell (-0.5 to 0.5 each way), and the cell's index in a 64x64 table."""
    a, b = u / np.float32(size), v / np.float32(size)
    column, row = np.floor(a), np.floor(b)
    cell = (column.astype(np.int64) % 64) * 64 + row.astype(np.int64) % 64
    return a - column - np.float32(0.5), b - row - np.float32(0.5), cell


def _at(table: Shaped[np.ndarray, "64 64"], cell: Int64[np.ndarray, "s s"], i: int, j: int) -> np.ndarray:
    """The value of each point's neighbour cell, `i` columns and `j` rows on."""
    return np.roll(table, (-i, -j), (0, 1)).reshape(-1).take(cell)


def _cell_inks(column: Int64[np.ndarray, "s s"], row: Int64[np.ndarray, "s s"], rng: np.random.Generator) -> Inks:
    """A random ink for each cell of a lattice."""
    return rng.integers(1, 5, (64, 64)).astype(np.int8)[column % 64, row % 64]


def _waves(
    u: Plane,
    v: Plane,
    rng: np.random.Generator,
    *,
    count: int,
    slowest: float,
    fastest: float,
    amplitude: float,
) -> Plane:
    """A smooth random field: `count` plane waves of random direction and phase (radians a unit, each way)."""
    field = np.zeros_like(u)
    for _ in range(count):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        speed = rng.uniform(slowest, fastest)
        field += np.float32(amplitude) * np.sin(
            np.float32(speed * np.cos(angle)) * u + np.float32(speed * np.sin(angle)) * v + np.float32(phase)
        )
    return field
