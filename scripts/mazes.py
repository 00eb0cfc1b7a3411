"""Look at mazes before agents do: from above, in the first person, and how fast they are.

example, the mazes of training, a random walk in one of them, and frames a second:
  python -m scripts.mazes --mazes size=7 layout=random --out mazes

writes mazes/above.png, mazes/views.png and mazes/walk.gif. --root FILE: a map of your own, of # and . with one G.
"""

import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np

from scripts.command_line import Parser, command, model_option
from scripts.pictures import save_drawn
from scripts.readers.navigation import mazes_help, open_mazes
from vision.detection.draw import grid
from vision.navigation import Mazes, World
from vision.navigation.draw import draw_maze, frame

AGENTS, STEPS, WALK = 16, 500, 150
VIEWS = ((30, 40), (84, 84))  # height and width


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    mazes = open_mazes(Namespace(mazes=args.mazes, root=args.root), "train")
    print(f"{AGENTS} agents, random actions, {STEPS} steps")
    for view in VIEWS:
        print(f"{view[1]}x{view[0]} pixels: {frames_per_second(mazes, view):.0f} frames/s")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        names = [save_drawn(picture, args.out, name) for name, picture in pictures(mazes).items()]
        print(f"{', '.join(names)} are in {args.out}")


def build_parser() -> Parser:
    parser = Parser("scripts.mazes", __doc__)
    text = f"with defaults: {mazes_help()}"
    parser.add_argument("--mazes", nargs="+", type=model_option, metavar="NAME=VALUE", default=[], help=text)
    parser.add_argument("--root", metavar="FILE", help="the map of a maze in a text file (default: generated)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for pictures (default: none)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def frames_per_second(mazes: Mazes, view: tuple[int, int]) -> float:
    """Views of AGENTS agents in a second of the processor's time, rendering and physics together."""
    world, rng = mazes.world(AGENTS, view), np.random.default_rng(0)
    world.reset()
    started = time.process_time()
    for _ in range(STEPS):
        world.step(rng.integers(0, 8, AGENTS))
    return AGENTS * STEPS / (time.process_time() - started)


def pictures(mazes: Mazes) -> dict:
    """{name: picture, or list of pictures}."""
    world, rng = mazes.world(AGENTS, (84, 112)), np.random.default_rng(0)
    seen = world.reset()
    above, views, walk = [from_above(world, i) for i in range(4)], list(seen.image), []
    for step in range(WALK):
        walk.append(frame(seen.image[0], from_above(world, 0)))
        ahead = step % 25 < 15
        seen = world.step(np.where(ahead, 0, rng.integers(0, 8, AGENTS)))
    return {"above": grid(above), "views": grid(views), "walk": walk}


def from_above(world: World, agent: int) -> np.ndarray:
    """An agent's maze, and the agent as a short line."""
    there, at = world.objects[agent][world.present[agent]], world.position[agent]
    ahead = at + 0.3 * np.array([np.cos(world.heading[agent]), np.sin(world.heading[agent])])
    return draw_maze(world.walls[agent], there[0], [np.stack([at, ahead])], there[1:])


if __name__ == "__main__":
    sys.exit(main())
