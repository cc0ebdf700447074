"""The picture world: scenes of one or two plain objects on a textured ground, drawn with signed distances.

A scene is data (`Scene`), free of resolution: object positions and sizes are fractions of the picture's side.
Textures keep their size in pixels, so a 64-pixel and a 128-pixel picture look alike close up.
`render` draws many scenes at once, about a thousand 128-pixel pictures a second on one core.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

CLASSES = ("ball", "box", "star", "house", "doughnut", "traffic cone")
COLOURS = {
    "red": (222, 22, 32),
    "orange": (252, 134, 8),
    "yellow": (250, 226, 24),
    "green": (36, 214, 52),
    "cyan": (24, 222, 226),
    "blue": (28, 58, 236),
    "purple": (138, 30, 190),
    "pink": (255, 112, 196),
}
BACKGROUNDS = {
    "grass": (66, 104, 50),
    "sand": (206, 180, 130),
    "snow": (234, 240, 248),
    "night": (18, 20, 48),
    "sea": (50, 98, 134),
    "pavement": (116, 116, 120),
}
COLOUR_NAMES = tuple(COLOURS)
BACKGROUND_NAMES = tuple(BACKGROUNDS)
POSITIONS = {
    "left": (0.31, 0.5),
    "right": (0.69, 0.5),
    "middle": (0.5, 0.5),
    "top": (0.5, 0.33),
    "bottom": (0.5, 0.67),
}
SIZES = {"small": (0.175, 0.21), "": (0.215, 0.27), "large": (0.28, 0.33)}
PAIR_SIZE = (0.165, 0.205)
KINDS = {"none": 0.03, "one": 0.42, "two-tone": 0.25, "two": 0.30}
# Colours above and below that never occur together in training: what concepts are made of, and others.
HELD_OUT_TONES = frozenset(
    {("red", "cyan"), ("red", "yellow"), ("purple", "yellow"), ("green", "pink"), ("blue", "orange"), ("pink", "blue")}
)


@dataclasses.dataclass(frozen=True)
class Thing:
    """One object: class and colour by name, half extent and centre as fractions of the picture's side.

    `lower` is the colour below the centre, where it is another one.
    """

    cls: str
    colour: str
    radius: float
    x: float
    y: float
    size: str = ""
    position: str = ""
    lower: str = ""


@dataclasses.dataclass(frozen=True)
class Scene:
    """A ground, up to two things (left one first) and the seed of what varies without a name."""

    background: str
    things: tuple[Thing, ...]
    seed: int


def held_out_triples() -> frozenset[tuple[str, str, str]]:
    """(class, colour, background) triples that never occur in training: one in seven."""
    triples = itertools.product(range(len(CLASSES)), range(len(COLOURS)), range(len(BACKGROUNDS)))
    return frozenset(
        (CLASSES[k], COLOUR_NAMES[c], BACKGROUND_NAMES[b]) for k, c, b in triples if (3 * k + 2 * c + b) % 7 == 0
    )


HELD_OUT = held_out_triples()


def random_scene(rng: np.random.Generator, kind: str | None = None) -> Scene:
    """A scene of the training distribution; `kind` is one of KINDS, drawn when left out."""
    kind = kind or rng.choice(list(KINDS), p=list(KINDS.values()))
    background = str(rng.choice(BACKGROUND_NAMES))
    seed = int(rng.integers(2**31))
    if kind == "none":
        return Scene(background, (), seed)
    if kind == "one":
        return Scene(background, (random_thing(rng, background),), seed)
    if kind == "two-tone":
        return Scene(background, (two_toned(rng, random_thing(rng, background)),), seed)
    left = random_pair_thing(rng, background, 0.27)
    right = random_pair_thing(rng, background, 0.73)
    while right.colour == left.colour:
        right = random_pair_thing(rng, background, 0.73)
    return Scene(background, (left, right), seed)


def random_thing(rng: np.random.Generator, background: str) -> Thing:
    cls, colour = random_look(rng, background)
    size = str(rng.choice(list(SIZES), p=[0.25, 0.5, 0.25]))
    position = str(rng.choice(list(POSITIONS), p=[0.18, 0.18, 0.36, 0.14, 0.14]))
    return place(rng, cls, colour, size, position)


def two_toned(rng: np.random.Generator, thing: Thing) -> Thing:
    lower = [name for name in COLOUR_NAMES if name != thing.colour and (thing.colour, name) not in HELD_OUT_TONES]
    return dataclasses.replace(thing, lower=str(rng.choice(lower)))


def place(rng: np.random.Generator, cls: str, colour: str, size: str, position: str) -> Thing:
    radius = rng.uniform(*SIZES[size])
    x, y = np.array(POSITIONS[position]) + rng.uniform(-0.035, 0.035, 2)
    edge = radius + 0.02
    return Thing(cls, colour, radius, float(np.clip(x, edge, 1 - edge)), float(np.clip(y, edge, 1 - edge)), size, position)


def random_pair_thing(rng: np.random.Generator, background: str, x: float) -> Thing:
    cls, colour = random_look(rng, background)
    radius = rng.uniform(*PAIR_SIZE)
    return Thing(cls, colour, radius, x + rng.uniform(-0.03, 0.03), 0.5 + rng.uniform(-0.1, 0.1))


def random_look(rng: np.random.Generator, background: str) -> tuple[str, str]:
    while True:
        cls, colour = str(rng.choice(CLASSES)), str(rng.choice(COLOUR_NAMES))
        if (cls, colour, background) not in HELD_OUT:
            return cls, colour


def shape_distance(cls: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance (negative inside) to the silhouette of half extent 1; `u` points right, `v` down."""
    if cls == "ball":
        return np.hypot(u, v) - 1
    if cls == "doughnut":
        return np.abs(np.hypot(u, v) - 0.72) - 0.28
    if cls == "box":
        return np.maximum(np.abs(u), np.abs(v)) - 0.86
    if cls == "star":
        return star_distance(u, v)
    if cls == "house":
        body = np.maximum(np.abs(u) - 0.62, np.abs(v - 0.45) - 0.5)
        roof = np.maximum((np.abs(u) * 0.95 - (v + 0.95)) / 1.38, v + 0.02)
        return np.minimum(body, roof)
    if cls == "traffic cone":
        cone = np.maximum((np.abs(u) * 1.6 - (v + 1.05) * 0.7) / 1.75, v - 0.75)
        base = np.maximum(np.abs(u) - 0.9, np.abs(v - 0.8) - 0.16)
        return np.minimum(cone, base)
    raise ValueError(f"no such class: {cls}")


def star_distance(u: np.ndarray, v: np.ndarray, points: int = 5, inner: float = 0.42) -> np.ndarray:
    """Distance to a star's edge lines, folded into one half point."""
    sector = 2 * np.pi / points
    radius = np.hypot(u, v)
    angle = np.abs((np.arctan2(u, -v) + sector / 2) % sector - sector / 2)
    px, py = radius * np.cos(angle), radius * np.sin(angle)
    tip, notch = np.array([1.06, 0.0]), 1.06 * inner * np.array([np.cos(sector / 2), np.sin(sector / 2)])
    edge = notch - tip
    normal = np.array([-edge[1], edge[0]]) / np.hypot(*edge)
    return -((px - tip[0]) * normal[0] + (py - tip[1]) * normal[1])


def grids(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres (x, y), float32, in pixels."""
    axis = np.arange(size, dtype=np.float32) + 0.5
    return np.meshgrid(axis, axis)


def coverage(thing: Thing, size: int) -> np.ndarray:
    """How much of each pixel the thing covers, [size, size] in 0…1."""
    x, y = grids(size)
    radius = thing.radius * size
    distance = shape_distance(thing.cls, (x - thing.x * size) / radius, (y - thing.y * size) / radius) * radius
    return np.clip(0.5 - distance, 0, 1).astype(np.float32)


def texture(background: str, size: int) -> np.ndarray:
    """What a ground adds to its plain colour, [size, size, 1 or 3]; periods are whole latent cells."""
    x, y = grids(size)
    wave = 2 * np.pi
    if background == "grass":
        pattern = 15 * np.sin(wave * (x / 16 + 0.25 * np.sin(wave * y / 32)))
    elif background == "sand":
        pattern = 9 * np.sin(wave * (x + 2 * y) / 64)
    elif background == "snow":
        pattern = 5 * np.sin(wave * x / 64) * np.sin(wave * y / 64)
    elif background == "sea":
        pattern = 15 * np.sin(wave * (y / 16 + 0.15 * np.sin(wave * x / 32)))
    elif background == "pavement":
        joint = np.minimum(np.abs((x + 16) % 32 - 16), np.abs((y + 16) % 32 - 16))
        pattern = -34 * np.clip(2.5 - joint, 0, 1)
    else:
        pattern = np.zeros_like(x)
    return pattern[..., None]


def night_sky(rng: np.random.Generator, size: int) -> np.ndarray:
    """Soft stars, a few to a picture."""
    x, y = grids(size)
    sky = np.zeros((size, size), np.float32)
    for _ in range(max(2, round(7 * (size / 128) ** 2))):
        cx, cy = rng.uniform(4, size - 4, 2)
        sky += 150 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 5)
    return sky[..., None]


_TEXTURES: dict[tuple[str, int], np.ndarray] = {}


def ground(scene: Scene, size: int) -> np.ndarray:
    key = (scene.background, size)
    if key not in _TEXTURES:
        _TEXTURES[key] = (np.array(BACKGROUNDS[scene.background]) + texture(*key)).astype(np.float32)
    rng = np.random.default_rng(scene.seed)
    picture = _TEXTURES[key] + np.float32(rng.uniform(-6, 6))
    return picture + night_sky(rng, size) if scene.background == "night" else picture


def paint(scene: Scene, size: int) -> np.ndarray:
    """The scene as float pixels [size, size, 3] in 0…255."""
    picture = ground(scene, size)
    for thing in scene.things:
        alpha = coverage(thing, size)[..., None]
        picture = picture + alpha * (surface(thing, size) - picture)
    return picture


def surface(thing: Thing, size: int) -> np.ndarray:
    """The thing's colours, [size or 1, 1, 3]."""
    colour = np.array(COLOURS[thing.colour], np.float32)
    if not thing.lower:
        return colour[None, None]
    below = np.clip(np.arange(size, dtype=np.float32) + 1 - thing.y * size, 0, 1)[:, None, None]
    return colour + below * (np.array(COLOURS[thing.lower], np.float32) - colour)


def to_bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def render(scenes: list[Scene], size: int) -> np.ndarray:
    """The scenes as bytes, [len(scenes), size, size, 3]."""
    return np.stack([to_bytes(paint(scene, size)) for scene in scenes])
