"""What happens in a training clip, drawn by chance: who moves where, at what size, over what, behind what.

Everything here is small and on the host, so that its size is known without asking the device; pixels come later.
Frame 0 of every clip is the one on which the target is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onlinetada.errors import InputError
from onlinetada.trackers.training.bank import Bank, Floats, Ints, Source
from onlinetada.trackers.training.render import Layer, affine_map

_MOST_DEVIATIONS = 2.5  # by which the log of a scale is off at most
_FAR_AWAY = 10.0  # in sides of the drawing
_USUAL_TARGET_PX = 128.0  # distances in this file are for a target of this size
Rng = np.random.Generator


@dataclass(frozen=True)
class SceneOptions:
    """How wild the clips are.

    Attributes:
        frames: search frames a clip, beside frame 0.
        size: side of the drawings in pixels.
        target_px: side of the target with its context on frame 0, the network's ``template_size``.
        shift_px: largest offset of the target from the middle of a search frame.
        log_scale: standard deviation of the log of the target's scale in a search frame.
        doubles: share of the look-alikes beside a pasted target that are its own double, recoloured.
        occluded: share of the clips with a pasted target in which something passes before it.
        vanished: share of the search frames that show what is around the target, often what looks like it, without
            the target: a pasted one is left out, of other pictures another place is shown.
    """

    frames: int = 3
    size: int = 256
    target_px: float = _USUAL_TARGET_PX
    shift_px: float = 60.0
    log_scale: float = 0.18
    doubles: float = 0.3
    occluded: float = 0.22
    vanished: float = 0.0

    def __post_init__(self) -> None:
        check_shares(self, ("doubles", "occluded", "vanished"))

    @property
    def unit(self) -> float:
        """By what distances in pixels are multiplied."""
        return self.target_px / _USUAL_TARGET_PX


def check_shares(options: object, names: tuple[str, ...]) -> None:
    """Refuse shares that are not between 0 and 1."""
    for name in names:
        if not 0 <= getattr(options, name) <= 1:
            raise InputError(f"{name} must be between 0 and 1, not {getattr(options, name)}")


@dataclass(frozen=True)
class Scene:
    """n clips of K frames to be drawn; drawing k of clip i is row i * K + k.

    Attributes:
        layers: from the bottom to the top.
        boxes: (n * K, 4) x1, y1, x2, y2 of the target in pixels; None where ``target_layer``'s outline tells.
        target_layer: the layer that is the target.
    """

    layers: list[Layer]
    boxes: Floats | None
    target_layer: int = 0


def real_scene(bank: Bank, n: int, options: SceneOptions, rng: Rng) -> Scene:
    """Frames of real tracks, near each other in six clips of ten, in either direction of time."""
    k = options.frames + 1
    begin, length = pick_groups(bank.sources["track"], n, rng, by_weight=True)
    last = (length - 1)[:, None].astype(float)
    start = rng.uniform(0, 1, (n, 1)) * last
    near = rng.uniform(0, 8, (n, 1))
    gap = np.where(rng.random((n, 1)) < 0.6, np.minimum(near, last), rng.uniform(0, 0.9, (n, 1)) * last)
    stride = rng.integers(1, 3, (n, 1))
    steps = np.concatenate([np.zeros((n, 1)), 1 + gap + stride * np.arange(options.frames)], 1)
    backward = np.where(start + steps[:, -1:] > last, True, (start - steps[:, -1:] >= 0) & (rng.random((n, 1)) < 0.5))
    position = np.clip(start + np.where(backward, -steps, steps), 0, last)
    pictures = begin[:, None] + np.rint(position).astype(np.int64)
    stretch = np.exp(rng.normal(0, 0.08, (n, 1))).repeat(k, 1)
    return _cropped(bank, pictures, bank.box[pictures], options, rng, stretch=stretch, angle=np.zeros((n, k)))


def still_scene(bank: Bank, n: int, options: SceneOptions, rng: Rng) -> Scene:
    """Camera motion over stills: a known box half of the time, else any region."""
    k = options.frames + 1
    boxed, plain = bank.rows("boxed"), bank.rows("still")
    from_boxed = rng.random(n) < (0.5 if len(boxed) and len(plain) else float(len(boxed) > 0))
    pictures = np.where(from_boxed, _choose(boxed, n, rng), _choose(plain, n, rng))
    known = bank.box[pictures]
    small = (known[:, 2:] < 0.6 * bank.shape[pictures]).all(1)  # NaN is not small
    usable = from_boxed | (small & (rng.random(n) < 0.5))
    area = np.exp(rng.uniform(np.log(40), np.log(200), (n, 1)))
    aspect = np.exp(np.clip(rng.normal(0, 0.4, (n, 1)), -0.9, 0.9))
    shape = bank.shape[pictures]
    wh = np.minimum(area * np.concatenate([np.sqrt(aspect), 1 / np.sqrt(aspect)], 1), shape * 0.6)
    corner = rng.uniform(0.1, 0.9, (n, 2)) * (shape - wh)
    box = np.where(usable[:, None], known, np.concatenate([corner, wh], 1))
    stretch = np.exp(rng.normal(0, 0.15, (n, 1)) + _drift(n, options.frames, 0.1, 0.03, rng))
    angle = rng.normal(0, 0.05, (n, 1)) + _drift(n, options.frames, 0.12, 0.02, rng)
    return _cropped(
        bank, pictures[:, None].repeat(k, 1), box[:, None].repeat(k, 1), options, rng, stretch=stretch, angle=angle
    )


def pasted_scene(bank: Bank, n: int, options: SceneOptions, rng: Rng) -> Scene:
    """Cut-out objects over other pictures, with look-alikes beside them and things that pass before them."""
    frames, k = options.frames, options.frames + 1
    begin, length = pick_groups(bank.sources["cutout"], n, rng, by_weight=False)
    last = (length - 1)[:, None].astype(float)
    steps = np.concatenate(
        [np.zeros((n, 1)), rng.uniform(0, 6, (n, 1)) + rng.uniform(0, 2, (n, 1)) * np.arange(frames)], 1
    )
    steps *= np.where(rng.random((n, 1)) < 0.5, -1, 1)
    position = np.clip(rng.uniform(0, 1, (n, 1)) * last + steps, 0, last)
    objects = begin[:, None] + np.rint(position).astype(np.int64)

    turn = np.where(rng.random((n, 1)) < 0.3, rng.uniform(-np.pi, np.pi, (n, 1)), rng.normal(0, 0.2, (n, 1)))
    angle = turn + _drift(n, frames, 0.22, 0.04, rng, speed=0.1)
    aspect = np.exp(rng.normal(0, 0.22, (n, 1)) + _drift(n, frames, 0.1, 0.04, rng))
    wh = bank.box[objects[:, 0]][:, None, 2:] * np.stack([aspect, 1 / aspect], -1)
    nominal = options.target_px / context_side(_turned(wh, angle))
    shift, growth = _search_jitter(n, options, rng)
    scale = nominal * growth
    scale[:, 0] *= np.exp(rng.normal(0, 0.04, n))
    mirror = np.where(rng.random((n, 1)) < 0.5, -1.0, 1.0)
    middle = options.size / 2
    placed = middle + shift
    placed[:, 0] = middle + rng.normal(0, 1.5, (n, 2))

    layers = [_background(bank, n, options, growth, shift, rng)]
    for share in (0.55, 0.3):
        layers.append(_look_alike(bank, objects, share, scale / nominal, angle, shift, options, rng))
    axes = np.stack([scale * aspect * mirror, scale / aspect], -1)
    shown_at = placed
    if options.vanished:  # otherwise draws nothing, so that recipes without it stay what they were
        shown_at = np.where(_vanishing(n, options, rng), _FAR_AWAY * options.size, placed)
    maps = affine_map(_middle_of(bank, objects), shown_at, axes, angle)
    gain = 1 + rng.normal(0, 0.06, (n, 1, 3)) + rng.normal(0, 0.12, (n, 1, 1))
    gain = np.concatenate([np.ones((n, 1, 3)), gain.repeat(frames, 1)], 1)
    layers.append(Layer(np.arange(n * k), objects.ravel(), maps.reshape(-1, 2, 3), gain.reshape(-1, 3)))
    layers.append(_occluder(bank, objects, placed, options, rng))
    return Scene(layers, None, target_layer=len(layers) - 2)


def _background(bank: Bank, n: int, options: SceneOptions, growth: Floats, shift: Floats, rng: Rng) -> Layer:
    frames, k = options.frames, options.frames + 1
    stills, boxed, tracks = bank.rows("still"), bank.rows("boxed"), bank.rows("track")
    kinds = [rows for rows, share in ((stills, 6), (boxed, 2), (tracks, 2)) for _ in range(share) if len(rows)]
    pictures = np.array([rng.choice(kinds[i]) for i in rng.integers(0, len(kinds), n)])
    shape = bank.shape[pictures]
    # about as many pixels of the picture as the drawing is wide
    scale = (448 * options.unit / shape.min(1) * rng.uniform(0.55, 1.6, n))[:, None] * growth
    wander = rng.normal(0, 1, (n, 1, 2)) * np.where(rng.random((n, 1, 1)) < 0.5, 10.0, 90.0) * options.unit
    wander = wander + rng.normal(0, 8 * options.unit, (n, 1, 2)) * np.arange(frames)[:, None] - shift[:, 1:] * 0.5
    wander = np.concatenate([np.zeros((n, 1, 2)), wander], 1) / scale[..., None]
    centre = (rng.uniform(0.25, 0.75, (n, 2)) * shape)[:, None] + wander
    angle = rng.normal(0, 0.15, (n, 1)) + _drift(n, frames, 0.0, 0.04, rng)
    maps = affine_map(centre, np.full((n, k, 2), options.size / 2), np.stack([scale, scale], -1), angle)
    return Layer(np.arange(n * k), pictures.repeat(k), maps.reshape(-1, 2, 3), mirrored=True)


def _look_alike(
    bank: Bank,
    objects: Ints,
    share: float,
    growth: Floats,
    angle: Floats,
    shift: Floats,
    options: SceneOptions,
    rng: Rng,
) -> Layer:
    """In a share of the clips, an object near the target: some are its own double, recoloured."""
    n, k = objects.shape
    own = np.less(rng.random(n), options.doubles)
    pictures = np.where(own[:, None], objects, objects[rng.permutation(n)])
    heading = rng.normal(0, 1, (n, 1, 2))
    heading *= rng.uniform(45, 125, (n, 1, 1)) * options.unit / np.linalg.norm(heading, axis=2, keepdims=True)
    velocity = rng.normal(0, 8 * options.unit, (n, 1, 2)) * np.arange(k - 1)[:, None]
    middle = options.size / 2
    first = middle + heading * rng.uniform(0.5, 1.0, (n, 1, 1))
    centre = np.concatenate([first, middle + shift[:, 1:] * 0.6 + heading + velocity], 1)
    size = bank.box[pictures[:, 0]][:, 2:].max(1)
    scale = (options.target_px / 2 / size * np.exp(rng.normal(0.1, 0.3, n)))[:, None] * growth
    stretch = np.exp(rng.normal(0, 0.15, (n, 1))) * np.where(rng.random((n, 1)) < 0.5, -1, 1)
    maps = affine_map(
        _middle_of(bank, pictures), centre, np.stack([scale * stretch, scale], -1), angle + rng.normal(0, 0.6, (n, 1))
    )
    tint = np.where(own[:, None], 1 + rng.normal(0, 0.25, (n, 3)), 1.0)
    shown = np.flatnonzero(np.repeat(rng.random(n) < share, k))
    return Layer(shown, pictures.ravel()[shown], maps.reshape(-1, 2, 3)[shown], tint.repeat(k, 0)[shown])


def _occluder(bank: Bank, objects: Ints, placed: Floats, options: SceneOptions, rng: Rng) -> Layer:
    """In a share of the clips something passes before the target."""
    n, k = objects.shape
    pictures = objects[rng.permutation(n)]
    size = bank.box[pictures[:, 0]][:, 2:].max(1)
    scale = (rng.uniform(30, 110, n) * options.unit / size)[:, None].repeat(k, 1)
    passing = rng.normal(0, 14 * options.unit, (n, 1, 2)) * (np.arange(k)[:, None] - k / 2)
    centre = placed + rng.normal(0, 22 * options.unit, (n, 1, 2)) + passing
    angle = (rng.normal(0, 2, (n, 1))).repeat(k, 1)
    maps = affine_map(_middle_of(bank, pictures), centre, np.stack([scale, scale], -1), angle)
    visible = (rng.random((n, 1)) < options.occluded) & (rng.random((n, k)) < 0.6)
    visible[:, 0] = False
    shown = np.flatnonzero(visible)
    return Layer(shown, pictures.ravel()[shown], maps.reshape(-1, 2, 3)[shown])


def _cropped(
    bank: Bank, pictures: Ints, box: Floats, options: SceneOptions, rng: Rng, *, stretch: Floats, angle: Floats
) -> Scene:
    """Crops of n clips of K pictures around their boxes, turned and stretched."""
    n, k = pictures.shape
    centre = box[..., :2] + box[..., 2:] / 2
    wh = _turned(box[..., 2:] * np.stack([stretch, 1 / stretch], -1), angle, corners=0.8)
    shift, growth = _search_jitter(n, options, rng)
    scale = options.target_px / context_side(wh) * growth
    scale[:, 0] *= np.exp(rng.normal(0, 0.03, n))
    mirror = np.where(rng.random((n, 1)) < 0.5, -1.0, 1.0)
    placed = options.size / 2 + shift
    placed[:, 0] = options.size / 2 + rng.normal(0, 1.0, (n, 2))
    half = wh * scale[..., None] / 2
    if options.vanished:  # otherwise draws nothing, as above
        placed = np.where(_vanishing(n, options, rng), _beside(half, options, rng), placed)
    maps = affine_map(centre, placed, np.stack([scale * stretch * mirror, scale / stretch], -1), angle)
    boxes = np.concatenate([placed - half, placed + half], -1).reshape(-1, 4)
    return Scene([Layer(np.arange(n * k), pictures.ravel(), maps.reshape(-1, 2, 3))], boxes)


def _search_jitter(n: int, options: SceneOptions, rng: Rng) -> tuple[Floats, Floats]:
    """Offset (n, K, 2) in pixels and growth (n, K) of the target in its frames; none in frame 0."""
    wild = np.where(rng.random((n, 1, 1)) < 0.6, 1.0, 0.55)
    shift = rng.uniform(-1, 1, (n, options.frames, 2)) * options.shift_px * wild
    most = _MOST_DEVIATIONS * options.log_scale
    growth = np.exp(np.clip(rng.normal(0, options.log_scale, (n, options.frames)), -most, most))
    return np.concatenate([np.zeros((n, 1, 2)), shift], 1), np.concatenate([np.ones((n, 1)), growth], 1)


def _vanishing(n: int, options: SceneOptions, rng: Rng) -> npt.NDArray[np.bool_]:
    """(n, K, 1) frames without the target; never frame 0."""
    gone = rng.random((n, options.frames, 1)) < options.vanished
    return np.concatenate([np.zeros((n, 1, 1), bool), gone], 1)


def _beside(half: Floats, options: SceneOptions, rng: Rng) -> Floats:
    """Centres (n, K, 2) at which targets of these half sizes (n, K, 2) lie just beyond a border of the drawing."""
    n, k = half.shape[:2]
    middle = options.size / 2
    along = rng.uniform(-1, 1, (n, k, 2)) * middle
    out = (middle + half + rng.uniform(2, 40 * options.unit, (n, k, 2))) * np.where(rng.random((n, k, 2)) < 0.5, -1, 1)
    return middle + np.where(np.arange(2) == rng.integers(0, 2, (n, k, 1)), out, along)


def _drift(n: int, frames: int, offset: float, step: float, rng: Rng, *, speed: float = 0.0) -> Floats:
    """(n, K) random walks that are 0 on frame 0 and jump by about ``offset`` to the next one."""
    walk = rng.normal(0, 1, (n, 1)) * offset + np.cumsum(rng.normal(0, 1, (n, frames)) * step, 1)
    walk = walk + rng.normal(0, 1, (n, 1)) * speed * np.arange(frames)
    return np.concatenate([np.zeros((n, 1)), walk], 1)


def _turned(wh: Floats, angle: Floats, *, corners: float | None = None) -> Floats:
    """Size of what encloses a turned ellipse of size ``wh``; with ``corners``, of a box whose corners are that full."""
    cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    w, h = wh[..., 0], wh[..., 1]
    if corners is not None:
        return np.stack([w * cos + h * sin * corners, h * cos + w * sin * corners], -1)
    return np.stack([np.hypot(w * cos, h * sin), np.hypot(w * sin, h * cos)], -1)


def context_side(wh: Floats) -> Floats:
    """Side of the square that holds targets of size (..., 2) with their context, as ``Geometry`` says."""
    pad = wh.sum(-1) / 2
    side: Floats = np.sqrt((wh[..., 0] + pad) * (wh[..., 1] + pad))
    return side


def _middle_of(bank: Bank, pictures: Ints) -> Floats:
    box = bank.box[pictures]
    middle: Floats = box[..., :2] + box[..., 2:] / 2
    return middle


def pick_groups(sources: tuple[Source, ...], n: int, rng: Rng, *, by_weight: bool) -> tuple[Ints, Ints]:
    """Begin and length of n groups; sources by their weights, or by the root of how many groups they have."""
    weight = np.array([s.weight if by_weight else np.sqrt(len(s.begin)) for s in sources])
    chosen = rng.choice(len(sources), n, p=weight / weight.sum())
    which = [(sources[c], int(rng.integers(len(sources[c].begin)))) for c in chosen]
    return np.array([s.begin[g] for s, g in which]), np.array([s.length[g] for s, g in which])


def _choose(rows: npt.NDArray[np.int64], n: int, rng: Rng) -> Ints:
    return rng.choice(rows, n) if len(rows) else np.zeros(n, np.int64)
