"""First-person pictures of mazes, with depth: one ray a column for a whole batch of agents at once.

The eye is at half the height of the walls, which are 1 high, as cells are 1 wide. A ray leaves it in the direction
d = forward + c side, c = -1 .. 1 from the left column to the right one (a field of view of 90 degrees). Where it meets
a wall at p + t d, t is the depth, measured along `forward`: a wall then covers the rows with |s| <= 0.5 / t, s the
row's slope. Rows below see the floor at depth 0.5 / s, rows above the ceiling.

Coordinates: x grows with the columns of a maze's grid, y with its rows; a cell is [column, column + 1) x
[row, row + 1). Headings are angles from the x axis towards the y axis, so a right turn is positive.
"""

from typing import NamedTuple

import numpy as np

TEXELS, KINDS = 16, 10  # texture of TEXELS x TEXELS, a power of 2, of KINDS kinds: walls, then floor
RADIUS, HEIGHT = 0.22, 0.5  # of the goal and the apples, which are upright cylinders
COLOURS = np.array([[230, 40, 200], [90, 220, 60]], np.uint8)  # of the goal, of apples
FAR = np.float32(1e9)


class View(NamedTuple):
    """What agents see: image (N, H, W, 3) uint8 and depth (N, H, W) float32, in cells."""

    image: np.ndarray
    depth: np.ndarray


class RayCaster:
    """Pictures of `height` x `width` pixels."""

    def __init__(self, height: int, width: int):
        focal = width / 2  # pixels: half the width over the tangent of 45 degrees
        self.side = ((np.arange(width) + 0.5) / focal - 1).astype(np.float32)  # c of each column
        self.slope = ((np.arange(height) + 0.5 - height / 2) / focal).astype(np.float32)  # s of each row, > 0 below
        self.flat = 0.5 / np.maximum(np.abs(self.slope), 1e-3)  # depth of floor and ceiling in each row
        self.textures = paint_textures()
        grey = (150 / (1 + 0.25 * self.flat)).astype(np.uint8)  # the ceiling darkens with its depth
        self.ceiling = pack(np.stack([grey, grey, (grey * 1.2).astype(np.uint8)], axis=-1))  # (H,)

    def render(self, walls, position, heading, objects, present) -> View:
        """walls (N, R, C) bool, position (N, 2) as x, y, heading (N,), objects (N, M, 2) of which the first is the
        goal, present (N, M) bool.
        """
        x, y = position.astype(np.float32).T[:, :, None]  # (N, 1) each
        cos, sin = np.cos(heading)[:, None].astype(np.float32), np.sin(heading)[:, None].astype(np.float32)
        dx, dy = cos - self.side * sin, sin + self.side * cos  # (N, W): forward (cos, sin), side (-sin, cos)
        depth, texture, along = hit_walls(walls, x, y, dx, dy)
        slope, seen = self.slope[:, None], depth[:, None]  # (H, 1), (N, 1, W)
        height = slope * seen  # of each pixel on the wall, -0.5 is its top
        row = ((height + 0.5) * TEXELS).astype(np.int32) & (TEXELS - 1)
        column = (along * TEXELS).astype(np.int32)
        pixels = self.textures[(texture * TEXELS**2 + column)[:, None] + row * TEXELS]  # (N, H, W) packed
        on_wall = np.abs(height) <= 0.5
        pixels = np.where(on_wall, pixels, self.ceiling[:, None])
        half = len(self.slope) // 2
        pixels[:, half:] = np.where(on_wall[:, half:], pixels[:, half:], self.floor(x, y, dx, dy, half))
        far = np.where(on_wall, seen, self.flat[:, None])
        relative = (objects - position[:, None]).astype(np.float32)
        return self.add_objects(pixels, far, depth, relative, present, dx, dy)

    def floor(self, x, y, dx, dy, half):
        """The floor's packed colours in rows from `half` on: (N, H - half, W)."""
        flat = self.flat[half:, None]
        u = ((x[:, None] + flat * dx[:, None]) * TEXELS).astype(np.int32) & (TEXELS - 1)
        v = ((y[:, None] + flat * dy[:, None]) * TEXELS).astype(np.int32) & (TEXELS - 1)
        return self.textures[(KINDS - 1) * TEXELS**2 + v * TEXELS + u]

    def add_objects(self, pixels, far, wall, relative, present, dx, dy) -> View:
        """The view with the nearest object of each column before the wall. relative (N, M, 2): objects - eye."""
        # |t d - r|^2 = RADIUS^2:  a t^2 - 2 b t + r.r - RADIUS^2 = 0
        a, rx, ry = (dx**2 + dy**2)[:, None], relative[:, :, :1], relative[:, :, 1:]  # (N, 1, W), (N, M, 1)
        b = rx * dx[:, None] + ry * dy[:, None]
        root = b**2 - a * (rx**2 + ry**2 - RADIUS**2)
        t = (b - np.sqrt(np.maximum(root, 0))) / a  # (N, M, W)
        t = np.where((root > 0) & (t > 0.02) & present[:, :, None], t, FAR)
        first, depth = t.argmin(axis=1), t.min(axis=1)[:, None]  # (N, W), (N, 1, W)
        s = self.slope[:, None]
        shown = (depth < wall[:, None]) & (s * depth <= 0.5) & (s * depth >= 0.5 - HEIGHT)
        colours = pack(COLOURS)[np.minimum(first, 1)][:, None]
        pixels = np.where(shown, colours, pixels)
        image = pixels.view(np.uint8).reshape(*pixels.shape, 4)[..., :3]
        return View(image, np.where(shown, depth, far))


def hit_walls(walls, x, y, dx, dy):
    """(depth, texture, position along the wall in 0..1) of the first wall of each ray, (N, W) each.

    A ray enters a cell through a line x = k or y = k: both families are intersected with all rays at once.
    """
    n, rows, columns = walls.shape
    agent = np.arange(n)[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        t, cross, column, row = crossings(x, y, dx, dy, columns, rows)
        t_x, along_x, column, row = first(walls[agent, row, column], t, cross, column, row)
        kind_x = texture_of(row, column, 0)
        t, cross, row, column = crossings(y, x, dy, dx, rows, columns)
        t_y, along_y, row, column = first(walls[agent, row, column], t, cross, row, column)
        kind_y = texture_of(row, column, 1)
    through_x = t_x < t_y
    along = np.where(through_x, along_x, along_y)
    return np.where(through_x, t_x, t_y), np.where(through_x, kind_x, kind_y), along - np.floor(along)


def crossings(x, y, dx, dy, columns, rows):
    """Where rays cross the lines x = 1 .. columns - 1: t, y there, and the cell behind, its column and row.

    (N, W, lines) each. Where a ray is already outside of the maze, y and the row are those of its edge.
    """
    t = (np.arange(1, columns, dtype=np.float32) - x[..., None]) / dx[..., None]
    across = np.fmin(np.fmax(y[..., None] + t * dy[..., None], 0), rows - 1)  # 0 for nan
    behind = np.where(dx[..., None] > 0, np.arange(1, columns), np.arange(columns - 1))
    return t, across, behind, across.astype(np.int32)


def first(wall, t, *others):
    """t of the first crossing ahead behind which is a wall, and the others there: (N, W) each of (N, W, lines)."""
    n, w, lines = t.shape
    t = np.where(wall & (t > 0), t, FAR)
    at = t.argmin(axis=2) + lines * np.arange(n * w).reshape(n, w)
    return [each.ravel()[at] for each in (t, *others)]


def texture_of(row, column, side):
    """The kind of texture of a cell's wall: the same cell and side always have the same."""
    return (row * 7 + column * 3 + side) % (KINDS - 1)


def paint_textures() -> np.ndarray:
    """(KINDS TEXELS^2,) packed colours: bricks, stripes, checks and bars in different hues; the last is the floor."""
    v, u = np.mgrid[:TEXELS, :TEXELS]
    bricks = ((v % 8 < 1) | ((u + 8 * (v // 8 % 2)) % 16 < 1)) * 1.0
    stripes, checks, bars = (u // 4 % 2) * 0.6, ((u // 4 + v // 4) % 2) * 0.6, (v // 4 % 2) * 0.6
    kinds = []
    for kind in range(KINDS - 1):
        angle = 2 * np.pi * kind / (KINDS - 1)
        hue = 0.55 + 0.45 * np.cos(angle + np.array([0, 2.1, 4.2]))
        kinds.append(225 * hue * (1 - 0.55 * (bricks, stripes, checks, bars)[kind % 4])[..., None])
    kinds.append(np.array([120, 100, 80]) * (1 - 0.35 * ((u // 8 + v // 8) % 2))[..., None])
    return pack(np.stack(kinds).astype(np.uint8)).reshape(-1)


def pack(colours: np.ndarray) -> np.ndarray:
    """(...) uint32 of colours (..., 3) uint8: one element a pixel is looked up faster than three."""
    alpha = np.full((*colours.shape[:-1], 1), 255, np.uint8)
    return np.ascontiguousarray(np.concatenate([colours, alpha], axis=-1)).view(np.uint32)[..., 0]
