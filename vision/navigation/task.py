"""Navigation as a task: agents that walk in mazes, measured by the goals they reach."""

import time
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from vision.navigation.agents import Agent
from vision.navigation.decoding import position_error
from vision.navigation.draw import draw_maze, draw_policy, frame
from vision.navigation.rollouts import AGENTS, Mazes, Rollouts, rollout_batch
from vision.navigation.world import ACTIONS
from vision.task import TASKS, Task, known, on_its_device, shown

SEED = 99  # of an evaluation
MINUTE = 900  # steps: 15 a second, as in the paper
ENOUGH = 3  # a trip is a success within so many times the steps of the shortest path


class Walks(NamedTuple):
    """One episode of N agents: trip and shortest (T, N) as in Observation, reward (T, N), position (T, N, 2).

    hidden (T, N, H): what the policy read; H is 0 for random actions.
    """

    trip: np.ndarray
    shortest: np.ndarray
    reward: np.ndarray
    position: np.ndarray
    hidden: np.ndarray


def walk(model: Agent, mazes: Mazes, agents: int = AGENTS, policy: str = "model", seen=None) -> Walks:
    """One episode of each agent. policy: "model", or "random" for actions that are all as likely.

    seen: a list that takes the first agent's (view, walls, objects that are there, position) of each step.
    """
    player = Rollouts(model, mazes, agents, SEED)
    rng, kept, world = np.random.default_rng([SEED, 1]), [], player.world
    for _ in range(mazes.options.episode):
        if seen is not None:
            there = world.objects[0][world.present[0]]
            seen.append((player.seen.image[0], world.walls[0].copy(), there, world.position[0].copy()))
        logits, hidden = np.zeros((agents, len(ACTIONS))), np.zeros((agents, 0))
        if policy == "model":
            logits = player.decide(player.knows())
            hidden = player.hidden
        position = world.position.copy()
        noise = rng.gumbel(size=logits.shape)
        player.act((logits + noise).argmax(axis=1))
        kept.append((player.seen.trip, player.seen.shortest, player.seen.reward, position, hidden))
    return Walks(*(np.stack(each) for each in zip(*kept)))


def measure(walks: Walks, episode: int) -> dict:
    """success, goals and rewards of one episode of each agent.

    success: the share of trips that took at most ENOUGH times the shortest path's steps at top speed. A trip that the
    end of the episode cut off counts as none where it could still have become one. first_trip: the median steps of the
    episodes' first trips, the whole episode where the goal was not reached; later_trips: of those after them, which an
    agent that remembers a new goal makes faster.
    """
    successes, begun, first, later = 0, 0, [], []
    for trips, shortest in zip(walks.trip.T, walks.shortest.T):
        ends = np.flatnonzero(trips)
        successes += int((trips[ends] <= ENOUGH * shortest[ends]).sum())
        cut_off = episode - (ends[-1] + 1 if len(ends) else 0)
        begun += len(ends) + int(cut_off > ENOUGH * shortest[-1])
        first += trips[ends[:1]].tolist() or [episode]
        later += trips[ends[1:]].tolist()
    minutes = walks.trip.size / MINUTE
    return {
        "success": successes / begun if begun else 0.0,
        "goals_per_minute": int((walks.trip > 0).sum()) / minutes,
        "reward": float(walks.reward.sum(axis=0).mean()),
        "first_trip": float(np.median(first)),  # steps
        "later_trips": known(np.median(later) if later else np.nan),
    }


def latency(walks: Walks, episode: int) -> dict:
    """Does an agent that has found the goal of an episode find it again faster?

    first_detour, second_detour: the steps of the first and of the second trips over those of the shortest paths, summed
    over the episodes in which both took at most half an episode. twice: how many these are. The goal is the same in
    both trips, the starts are drawn alike, and the end of the episode cuts off neither, so without memory the two
    have the same expectation.
    """
    pairs = []
    for trips, shortest in zip(walks.trip.T, walks.shortest.T):
        ends = np.flatnonzero(trips)[:2]
        if len(ends) == 2 and trips[ends].max() <= episode // 2:
            pairs.append([trips[ends], shortest[ends]])
    steps, least = np.sum(pairs, axis=0) if pairs else np.full((2, 2), np.nan)
    first, second = steps / least
    return {"first_detour": known(first), "second_detour": known(second), "twice": len(pairs)}


def evaluate_navigation(model: Agent, dataset: Mazes, failed: list[str] | None = None) -> dict:
    """What the data set's agents reach in an episode each, beside agents that act at random and shortest paths."""
    started, episode = time.monotonic(), dataset.options.episode
    walks = walk(model, dataset, dataset.agents)
    seconds = time.monotonic() - started
    at_random = measure(walk(model, dataset, dataset.agents, policy="random"), episode)
    found = measure(walks, episode) | latency(walks, episode) | position_error(walks.hidden, walks.position)
    return found | {
        "random_success": at_random["success"],
        "random_goals_per_minute": at_random["goals_per_minute"],
        "shortest_goals_per_minute": MINUTE / float(walks.shortest.mean()),
        "frames_per_second": round(walks.trip.size / seconds),
    }


def navigation_table(m: dict) -> str:
    """The metrics of evaluate_navigation in four lines."""
    return (
        f"success {shown(m['success'])} (at random {shown(m['random_success'])}), reward an episode {m['reward']:.1f}\n"
        f"goals a minute {m['goals_per_minute']:.2f} (at random {m['random_goals_per_minute']:.2f}, "
        f"by shortest paths {m['shortest_goals_per_minute']:.1f}); {m['frames_per_second']} frames/s\n"
        f"steps to the goal, median: first time {shown(m['first_trip'])}, later {shown(m['later_trips'])}; over those "
        f"of the shortest path, in {m['twice']} episodes: first {shown(m['first_detour'])}, second "
        f"{shown(m['second_detour'])}\n"
        f"position read linearly from the hidden state: off by {m['position_error']:.2f} cells "
        f"(the mean position: {m['mean_position_error']:.2f})"
    )


def act(model: Agent, sample: dict) -> np.ndarray:
    """(8,) the probability of each action for one picture, without memory of any other."""
    image = model.preprocess.batch([model.preprocess.scaled(sample["image"])])
    return on_its_device(model, model.predict, image)[0][0]


def describe_actions(probabilities: np.ndarray, classes) -> list[dict]:
    """[{class, score}], the likeliest action first."""
    return [{"class": classes[i], "score": round(float(probabilities[i]), 4)} for i in np.argsort(-probabilities)]


def navigation_pictures(model: Agent, dataset: Mazes, failed=None) -> dict:
    """{"ways": a maze from above with the first trips of the first agent, "episode": its first 300 steps}."""
    seen = []
    walks = walk(model, dataset, seen=seen)
    ends = [0, *(np.flatnonzero(walks.trip[:, 0])[:4] + 1)]
    paths = [walks.position[a:b, 0] for a, b in pairwise(ends)] or [walks.position[:, 0]]
    _, walls, there, _ = seen[0]
    frames = [frame(view, draw_maze(w, o[0], [np.stack([p, p + 0.15])], o[1:])) for view, w, o, p in seen[:300]]
    return {"ways": draw_maze(walls, there[0], paths, there[1:]), "episode": frames}


TASKS["navigation"] = Task(
    metric="success",
    collate=rollout_batch,
    predict=act,
    evaluate=evaluate_navigation,
    table=navigation_table,
    describe=describe_actions,
    select=lambda prediction, threshold: prediction,
    draw=lambda image, prediction, classes, sample=None: draw_policy(image, prediction, classes),
    unit="rollouts",
    pictures=navigation_pictures,
    experience=Rollouts,
)
