"""Agents in mazes: how they move, what they see and what they are rewarded for, a batch of them at once.

Units: cells, steps and radians; see vision.navigation.ray_caster for the coordinates.

    velocity = FRICTION velocity + thrust of the action        forward and sideways, and turning
    position += velocity, as far as no wall comes nearer than BODY

Reaching the goal gives +10, and the agent goes on from a random cell; an apple gives +1, once an episode.

Reference: Mirowski et al. 2017, arXiv:1611.03673, sec. 3: rewards, actions, respawning. Their mazes are DeepMind Lab's,
with velocities in six dimensions; agents here stay upright on the floor, so three are left.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nn.layer import positive
from vision.navigation.mazes import MazeOptions, check_maze, distances, generate
from vision.navigation.ray_caster import RayCaster

ACTIONS = ("forward", "backward", "strafe left", "strafe right", "turn left", "turn right", "bear left", "bear right")
THRUST = np.array(  # forward, sideways (right), turning (right) of each action
    [[1, 0, 0], [-1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1], [1, 0, -1], [1, 0, 1]], float
) * np.array([0.1, 0.1, 0.15])
FRICTION = 0.5  # what is left of a velocity a step later: the top speed is 0.2 cells a step, 0.3 radians
TOP_SPEED = THRUST[0, 0] / (1 - FRICTION)
BODY, REACH = 0.2, 0.45  # cells: nearest distance to a wall; distance at which a goal or an apple is reached
GOAL_REWARD, APPLE_REWARD = 10.0, 1.0
CLOSE, AWAY = 1.0, 2.0  # cells: a loop is closed within CLOSE of a place, after being more than AWAY from it
STATE = "walls goal objects present position heading velocity place away steps trip shortest episodes".split()


class Observation(NamedTuple):
    """What N agents see and feel after a step.

    image (N, H, W, 3) uint8, depth (N, H, W) in cells, velocity (N, 3): forward, sideways, turning. reward (N,);
    ended (N,): the episode is over, and this is the first view of the next one. loop (N,): the agent is where it has
    been before. trip (N,): steps from the start to the goal, where it was reached just now, else 0; shortest (N,):
    those of the shortest path at top speed.
    """

    image: np.ndarray
    depth: np.ndarray
    velocity: np.ndarray
    reward: np.ndarray
    ended: np.ndarray
    loop: np.ndarray
    trip: np.ndarray
    shortest: np.ndarray


class World:
    """`agents` agents, each in a maze of its own. view: (height, width) of their pictures, in pixels.

    maze: (walls, goal or None) as read_maze makes them, instead of a generated layout. All that is drawn at random in
    agent n's episode e depends on (seed, n, e) alone. Raises ValueError for sizes below 1 and unusable mazes.
    """

    restart = True  # False: an episode that is over goes on until reset

    def __init__(self, options: MazeOptions, agents: int, view: Sequence[int] = (30, 40), seed: int = 0, maze=None):
        positive("World", agents=agents, height=view[0], width=view[1])
        self.options, self.seed, self.maze, self.n = options, seed, maze, agents
        if maze is not None:
            check_maze(*maze)
        self.eye, rng = RayCaster(*view), np.random.default_rng([options.maze_seed, 7])
        self.layout = generate(options.size, rng, options.loops) if maze is None else maze[0]
        self.fixed_goal = draw_cell(self.layout, rng) if maze is None or maze[1] is None else np.array(maze[1])
        self.episodes = np.full(agents, -1)
        n, m, e = agents, 1 + options.apples, options.episode
        self.walls = np.ones((n, *self.layout.shape), bool)
        self.goal, self.objects, self.present = np.zeros((n, 2), int), np.zeros((n, m, 2)), np.ones((n, m), bool)
        self.position, self.heading, self.velocity = np.zeros((n, 2)), np.zeros(n), np.zeros((n, 3))
        self.place, self.away = np.zeros((n, e, 2), np.float32), np.zeros((n, e), bool)  # past positions of this trip
        self.steps, self.trip, self.shortest = np.zeros(n, int), np.zeros(n, int), np.ones(n)
        self.to_goal = [None] * agents  # distances of each agent's cells to its goal

    def reset(self) -> Observation:
        """A new episode of every agent."""
        for agent in range(self.n):
            self.begin_episode(agent)
        zeros = np.zeros(self.n)
        return self.observe(zeros, zeros > 0, zeros > 0, zeros.astype(int), self.shortest)

    def step(self, actions: np.ndarray) -> Observation:
        """One step of every agent; actions (N,) are indices of ACTIONS."""
        actions = np.asarray(actions)
        if actions.shape != (self.n,) or actions.dtype.kind not in "iu" or min(actions) < 0 or max(actions) > 7:
            raise ValueError(f"World: actions must be {self.n} integers in 0..7, got {actions!r}")
        self.velocity = FRICTION * self.velocity + THRUST[actions]
        self.move()
        self.steps, self.trip = self.steps + 1, self.trip + 1
        loop, reward, trip = self.close_loops(), self.collect_apples(), np.zeros(self.n, int)
        shortest = self.shortest.copy()
        reached = np.linalg.norm(self.position - self.objects[:, 0], axis=1) < REACH
        for agent in np.flatnonzero(reached):
            reward[agent] += GOAL_REWARD
            trip[agent] = self.trip[agent]
            self.begin_trip(agent)
        ended = self.steps >= self.options.episode
        for agent in np.flatnonzero(ended & self.restart):
            self.begin_episode(agent)
        return self.observe(reward, ended, loop, trip, shortest)

    def move(self):
        """Turn, then go in x and in y, each as far as the walls allow."""
        self.heading = (self.heading + self.velocity[:, 2]) % (2 * np.pi)
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        forward, sideways = self.velocity[:, 0], self.velocity[:, 1]
        for axis, step in ((0, forward * cos - sideways * sin), (1, forward * sin + sideways * cos)):
            new = self.position.copy()
            new[:, axis] += step
            corners = new[:, None] + BODY * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])  # (N, 4, 2)
            column, row = np.floor(corners).astype(int).transpose(2, 0, 1)
            blocked = self.walls[np.arange(self.n)[:, None], row, column].any(axis=1)
            self.position = np.where(blocked[:, None], self.position, new)

    def close_loops(self) -> np.ndarray:
        """(N,) whether an agent is near a place of this trip that it has left since; then its place is added."""
        longest = self.trip.max()
        dx, dy = np.moveaxis(self.place[:, :longest] - self.position[:, None].astype(np.float32), 2, 0)
        apart = dx * dx + dy * dy  # (N, longest), squared
        past, away = np.arange(longest) < self.trip[:, None] - 1, self.away[:, :longest]
        loop = (past & away & (apart < CLOSE**2)).any(axis=1)
        away |= past & (apart > AWAY**2)
        self.place[np.arange(self.n), (self.trip - 1) % self.options.episode] = self.position
        return loop

    def collect_apples(self) -> np.ndarray:
        """(N,) the reward of apples that are reached; they are gone."""
        apart = np.linalg.norm(self.objects - self.position[:, None], axis=2)
        taken = self.present & (apart < REACH)
        taken[:, 0] = False  # the goal stays
        self.present &= ~taken
        return APPLE_REWARD * taken.sum(axis=1)

    def begin_episode(self, agent: int):
        """Layout, goal, apples and start of the next episode of an agent."""
        o, self.episodes[agent] = self.options, self.episodes[agent] + 1
        rng = self.generator(agent, 0)
        new = o.layout == "random" and self.maze is None
        walls = generate(o.size, rng, o.loops) if new else self.layout
        self.walls[agent] = walls
        self.goal[agent] = draw_cell(walls, rng) if new or o.goal == "random" else self.fixed_goal
        cells = np.array([self.goal[agent], *(draw_cell(walls, rng) for _ in range(o.apples))])
        self.objects[agent], self.present[agent], self.steps[agent] = cells[:, ::-1] + 0.5, True, 0
        self.to_goal[agent] = distances(walls, self.goal[agent])
        self.begin_trip(agent)

    def begin_trip(self, agent: int):
        """A random cell other than the goal, and a random heading."""
        rng = self.generator(agent, 1 + self.steps[agent])
        row, column = draw_cell(self.walls[agent] | (self.to_goal[agent] == 0), rng)
        self.position[agent], self.heading[agent] = (column + 0.5, row + 0.5), rng.uniform(0, 2 * np.pi)
        self.velocity[agent], self.away[agent], self.trip[agent] = 0, False, 0
        self.shortest[agent] = self.to_goal[agent][row, column] / TOP_SPEED

    def generator(self, agent: int, step: int) -> np.random.Generator:
        """The random numbers of an agent's episode at a step."""
        return np.random.default_rng([self.seed, agent, int(self.episodes[agent]), int(step), 11])

    def observe(self, reward, ended, loop, trip, shortest) -> Observation:
        """What the agents see now."""
        image, depth = self.eye.render(self.walls, self.position, self.heading, self.objects, self.present)
        return Observation(image, depth, self.velocity.copy(), reward, ended, loop, trip, shortest)

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that the next steps depend on."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state):
        """Go on where state_dict was taken. Raises ValueError for a state of other agents or mazes."""
        for name in STATE:
            mine, theirs = getattr(self, name), state.get(name)
            if theirs is None or theirs.shape != mine.shape:
                got = "none" if theirs is None else theirs.shape
                raise ValueError(f"World: {name} must have shape {mine.shape}, got {got}; use the same --mazes")
            setattr(self, name, theirs.astype(mine.dtype))
        self.to_goal = [distances(walls, goal) for walls, goal in zip(self.walls, self.goal)]


def draw_cell(walls: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(row, column) of a free cell."""
    free = np.argwhere(~walls)
    return free[rng.integers(len(free))]
