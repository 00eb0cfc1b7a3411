"""Mazes with the interface of Gymnasium, for one agent; World is the batched form. Needs `pip install gymnasium`."""

import gymnasium
import numpy as np

from vision.navigation.draw import draw_maze
from vision.navigation.mazes import MazeOptions
from vision.navigation.world import ACTIONS, World


class MazeEnv(gymnasium.Env):
    """observation (H, W, 3) uint8, actions 0 .. 7 (see ACTIONS); truncated after options.episode steps.

    info: depth (H, W) in cells, velocity (3,), and trip, the steps to a goal that was reached just now, or 0.
    render: the maze from above, and the agent.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012  (as Gymnasium wants it)

    def __init__(self, options: MazeOptions | None = None, view=(84, 84), maze=None, render_mode: str | None = None):
        self.options, self.view, self.maze, self.render_mode = options or MazeOptions(), tuple(view), maze, render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (*self.view, 3), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(ACTIONS))
        self.world = None

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """(observation, info) of a new episode; with a seed the first one of a new world."""
        super().reset(seed=seed)
        if self.world is None or seed is not None:
            drawn = int(self.np_random.integers(2**31))
            self.world = World(self.options, 1, self.view, drawn, self.maze)
            self.world.restart = False
        return self._told(self.world.reset())

    def step(self, action: int):
        """(observation, reward, terminated, truncated, info)."""
        seen = self.world.step(np.array([action]))
        image, info = self._told(seen)
        return image, float(seen.reward[0]), False, bool(seen.ended[0]), info

    def render(self) -> np.ndarray:
        """The maze from above (24 R, 24 C, 3) uint8, with the agent as a short line."""
        w = self.world
        there, at = w.objects[0][w.present[0]], w.position[0]
        ahead = at + 0.3 * np.array([np.cos(w.heading[0]), np.sin(w.heading[0])])
        return draw_maze(w.walls[0], there[0], [np.stack([at, ahead])], there[1:])

    def _told(self, seen):
        info = {"depth": seen.depth[0], "velocity": seen.velocity[0], "trip": int(seen.trip[0])}
        return np.ascontiguousarray(seen.image[0]), info
