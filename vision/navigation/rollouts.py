"""Experience: a data set of mazes, and batches that agents make by walking in them."""

from collections.abc import Iterator

import numpy as np

from nn.gpu.device import device_of, to_device
from vision.navigation.actor_critic import sample_actions
from vision.navigation.agents import Agent, Rollout
from vision.navigation.auxiliary import depth_map
from vision.navigation.mazes import MazeOptions
from vision.navigation.world import ACTIONS, World

AGENTS = 16  # of an evaluation
STATE = ("last_reward", "last_action", "first", "loop", "memory")


class Mazes:
    """Mazes as a data set. len: the rollouts of single agents in an epoch; sample i: the first view of agent i.

    maze: (walls, goal or None) of a map, instead of generated layouts. agents: of an evaluation, each walks for one
    episode. split: "train" and "val" differ in what is
    drawn at random, starts above all; mazes of a fixed layout and static goals are the same.
    """

    classes = ACTIONS

    def __init__(
        self, options: MazeOptions, split: str = "train", rollouts: int = 5000, maze=None, agents: int = AGENTS
    ):
        self.options, self.rollouts, self.maze, self.agents = options, rollouts, maze, agents
        self.seed = {"train": 0, "val": 1, "test": 2}[split]

    def __len__(self) -> int:
        return self.rollouts

    def world(self, agents: int, view: tuple[int, int], seed: int = 0) -> World:
        """A world of these mazes."""
        return World(self.options, agents, view, 1000 * self.seed + seed, self.maze)

    def __getitem__(self, index: int) -> dict:
        world = self.world(1, (84, 112), index % 1000)
        return {"image": world.reset().image[0], "id": f"maze {index}", "mazes": self}


class Rollouts:
    """Batches of experience, played by the model as it is when a batch is asked for.

    An epoch has len(mazes) // agents batches of a rollout each; a batch goes on where the one before ended. All
    actions are functions of (seed, epoch, batch) and the state, which is part of a run's checkpoint.
    """

    def __init__(self, model: Agent, mazes: Mazes, agents: int, seed: int = 0):
        o = model.options
        self.model, self.seed, self.agents, self.mazes = model, seed, agents, mazes
        self.batches = len(mazes) // agents
        if not self.batches:
            raise ValueError(f"Rollouts: {len(mazes)} rollouts an epoch make no batch of {agents}")
        self.world = mazes.world(agents, (o.height, o.width), seed)
        self.seen = self.world.reset()
        self.last_reward, self.first = np.zeros(agents, np.float32), np.ones(agents, bool)
        self.last_action, self.loop = np.zeros(agents, int), np.zeros(agents, bool)
        self.memory = np.zeros((agents, model.memory_size), np.float32)

    def __len__(self) -> int:
        return self.batches

    def epoch(self, number: int, start: int = 0) -> Iterator[Rollout]:
        """The batches of one epoch, from batch `start` on."""
        for batch in range(start, len(self)):
            yield self.play(np.random.default_rng([self.seed, number, batch, 3]))

    def play(self, rng: np.random.Generator) -> Rollout:
        """The next `rollout` steps of all agents."""
        before, known, done = self.memory, [self.knows()], []
        depth, loops = [], []
        for _ in range(self.model.options.rollout):
            depth.append(depth_map(self.seen.depth))
            loops.append(self.loop)
            done.append(self.act(sample_actions(self.decide(known[-1]), rng)))
            known.append(self.knows())
        actions, rewards, ended = (np.stack(each) for each in zip(*done))
        knows = [np.stack(each) for each in zip(*known)]
        return Rollout(*knows, before, actions, rewards, ended, np.stack(depth), np.stack(loops))

    def knows(self) -> tuple[np.ndarray, ...]:
        """What the agents know now: images, velocity, reward and action of the last step, whether an episode begins."""
        velocity = self.seen.velocity.astype(np.float32)
        return self.model.as_input(self.seen.image), velocity, self.last_reward, self.last_action, self.first

    def decide(self, knows) -> np.ndarray:
        """Logits (N, 8); the memory goes on by a step, and `hidden` (N, H) is what the policy reads."""
        given = to_device((*(each[None] for each in knows), self.memory), device_of(self.model))
        outputs, _ = self.model.forward(*given, training=False)
        self.memory, self.hidden = to_device(outputs.memory, "cpu"), to_device(outputs.hidden[0], "cpu")
        return to_device(outputs.logits[0], "cpu")

    def act(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(actions, rewards, ended) of a step in the world."""
        self.seen = seen = self.world.step(actions)
        self.last_reward = (self.model.options.reward_scale * seen.reward).astype(np.float32)
        self.last_action, self.first, self.loop = actions, seen.ended, seen.loop
        return actions, self.last_reward, seen.ended

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that the next batch depends on, but the model."""
        return {name: getattr(self, name) for name in STATE} | self.world.state_dict()

    def load_state_dict(self, state):
        """Go on where state_dict was taken. Raises ValueError for a state of another world."""
        self.world.load_state_dict(state)
        for name in STATE:
            mine = getattr(self, name)
            if name not in state or state[name].shape != mine.shape:
                raise ValueError(f"Rollouts: {name} must have shape {mine.shape}; use the same model and --batch-size")
            setattr(self, name, state[name].astype(mine.dtype))
        zeros = np.zeros(self.agents)
        self.seen = self.world.observe(zeros, zeros > 0, zeros > 0, zeros.astype(int), self.world.shortest)


def rollout_batch(model: Agent, samples: list[dict]) -> Rollout:
    """One rollout of as many agents as there are samples of a Mazes."""
    return next(Rollouts(model, samples[0]["mazes"], len(samples)).epoch(0))
