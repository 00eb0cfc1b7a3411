"""Batches of samples in a seeded order, prepared ahead of time on threads."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice, pairwise
from typing import Any

import numpy as np

from .listing import name_of
from .reader_processes import ReaderProcesses, SampleReader
from .samplers import Drawn, Sampler


class Loader:
    """Batches of a data set: `for batch in loader.epoch(3)`.

    The order of epoch e is drawn from default_rng([seed, e]); sample i is transformed with
    default_rng([seed, e, i + 1]). So a batch depends on (seed, epoch, position) alone, not on the count of
    workers nor on earlier reads, and a run resumes anywhere with `epoch(e, start=batch)`.

    dataset: has len() and [index] -> sample, both safe to call from threads; and shuffled(rng) -> indices where not
        every order is read fast, see datasets.shards
    collate: list of samples -> batch; runs on the worker, too
    transform: (sample, rng) -> sample
    workers: threads that decode, transform and collate; 0 does it in the caller's thread
    processes: as many processes as threads decode and transform instead, and the threads only collate: the same
        batches, faster where Python's threads wait for each other; see datasets.reader_processes, and close()
    drop_last: leave out the last batch of an epoch where it is smaller than batch_size
    sampler: draws the batches of epoch e from default_rng([seed, e]) where samples come in pairs or classes, instead of
        batch_size, shuffle and drop_last: see datasets.samplers. A sample may come several times in an epoch, so the
        one at position p of all batches is transformed with default_rng([seed, e, p + 1])
    ahead: batches that may wait, prepared or in preparation (default: 2, or one a worker)
    parts: more than 1: instead of a batch comes a list of so many, its samples shared out in order; of fewer where the
        batch has fewer samples
    share: (rank, size): of each batch the samples rank, rank + size, ... are prepared, always as a list of parts, which
        is empty where the batch has too few samples
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        collate: Callable[[list[dict]], Any],
        *,
        transform: Callable[[dict, np.random.Generator], dict] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        workers: int = 1,
        drop_last: bool = False,
        sampler: Sampler | None = None,
        ahead: int | None = None,
        parts: int = 1,
        share: tuple[int, int] = (0, 1),
        processes: bool = False,
    ):
        ahead = max(2, workers) if ahead is None else ahead
        wanted = (("batch_size", batch_size, 1), ("seed", seed, 0), ("workers", workers, 0), ("parts", parts, 1))
        for name, value, least in wanted:
            if value < least:
                raise ValueError(f"Loader: {name} must be at least {least}, got {value}")
        if ahead < 1:
            raise ValueError(f"Loader: ahead must be at least 1, got {ahead}; workers=0 does without threads")
        self.dataset, self.batch_size, self.collate, self.transform = dataset, batch_size, collate, transform
        self.shuffle, self.seed, self.workers, self.drop_last, self.ahead = shuffle, seed, workers, drop_last, ahead
        self.sampler, self.parts, self.share = sampler, parts, share
        self.reader, self.processes = SampleReader(dataset, transform, seed), None
        if processes and workers:
            self.processes = ReaderProcesses(self.reader, workers)
        if len(self) == 0:
            raise ValueError(f"Loader: {len(dataset)} samples make no batch of {batch_size}; is the data set empty?")

    def __len__(self) -> int:
        """Batches in an epoch."""
        if self.sampler is not None:
            return len(self.sampler)
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """The batches of one epoch, from batch `start` on.

        An error in a worker is raised here, instead of the batch that it spoilt. Leaving the loop early,
        by break, exception or Ctrl-C, ends the threads as soon as the iterator is closed or forgotten.
        """
        if number < 0 or not 0 <= start <= len(self):
            raise ValueError(f"Loader: need epoch >= 0 and start in 0..{len(self)}, got {number} and {start}")
        chunks = self._chunks(number)[start:]
        return self._on_threads(number, chunks) if self.workers else (self._batch(number, chunk) for chunk in chunks)

    def close(self):
        """End the processes, where there are some; without it they end with the program."""
        if self.processes is not None:
            self.processes.close()

    def names(self, number: int, batch: int) -> list[str]:
        """The files or ids of the samples in a batch of an epoch, for messages: see listing.name_of."""
        return [name_of(self.dataset, drawn.index) for drawn, _ in self._chunks(number)[batch]]

    def _chunks(self, number: int) -> list[list[tuple[Drawn, int]]]:
        """The batches of an epoch: of each sample what is drawn, and the number of its random stream."""
        rng = np.random.default_rng([self.seed, number])
        if self.sampler is not None:
            stream = count()
            return [[(drawn, next(stream)) for drawn in batch] for batch in self.sampler.epoch(rng)]
        order = np.arange(len(self.dataset))
        if self.shuffle and hasattr(self.dataset, "shuffled"):
            order = self.dataset.shuffled(rng)
        elif self.shuffle:
            rng.shuffle(order)
        drawn = [(Drawn(index), index) for index in order.tolist()]
        rank, size = self.share
        return [drawn[i * self.batch_size + rank : (i + 1) * self.batch_size : size] for i in range(len(self))]

    def _batch(self, number: int, chunk: list[tuple[Drawn, int]]) -> Any:
        """The batch, or the list of its parts."""
        if self.parts == 1 and self.share[1] == 1:
            return self._collated(number, chunk)
        bounds = np.linspace(0, len(chunk), min(self.parts, len(chunk)) + 1).astype(int).tolist()
        return [self._collated(number, chunk[a:b]) for a, b in pairwise(bounds)]

    def _collated(self, number, chunk):
        if self.processes is None:
            samples = [self.reader.read(number, *each) for each in chunk]
        else:
            samples = self.processes.read(number, chunk)
        try:
            return self.collate(samples)
        except ValueError as error:
            names = ", ".join(name_of(self.dataset, drawn.index) for drawn, _ in chunk)
            raise ValueError(f"{names}: {error}") from error

    def _on_threads(self, number: int, chunks: list[list[tuple[Drawn, int]]]) -> Iterator[Any]:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        try:
            rest = iter(chunks)
            waiting = deque(pool.submit(self._batch, number, chunk) for chunk in islice(rest, self.ahead))
            while waiting:
                batch = waiting.popleft().result()  # in order, whichever worker was first
                waiting.extend(pool.submit(self._batch, number, chunk) for chunk in islice(rest, 1))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def detection_batch(
    samples: list[dict], mean: Sequence[float], std: Sequence[float]
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Samples of different size as one array of images, and a dict per image with what belongs to it.

    images (N, 3, H, W) float32: (pixel - mean) / std with mean and std (3,), or one scalar, in units of 0..255;
        padded with zeros (the mean colour) at the right and the bottom to the largest height and width
    targets: boxes (K, 4), labels (K,), difficult (K,), id (where the sample has them) in the padded image's pixels;
        image_size (h, w) without the padding; scale (sx, sy) and original_size (h, w) as `resize` left them

    Use it as `collate` with functools.partial(detection_batch, mean=..., std=...).
    """
    mean, std = (np.asarray(each, dtype=np.float32) for each in (mean, std))
    sizes = [sample["image"].shape[:2] for sample in samples]
    height, width = np.max(sizes, axis=0)
    images = np.zeros((len(samples), 3, height, width), dtype=np.float32)
    targets = []
    for into, sample, (h, w) in zip(images, samples, sizes, strict=True):
        into[:, :h, :w] = ((sample["image"] - mean) / std).transpose(2, 0, 1)
        target = {key: sample[key] for key in ("boxes", "labels", "difficult", "id") if key in sample}
        target["image_size"] = (h, w)
        target["scale"] = sample.get("scale", (1.0, 1.0))
        target["original_size"] = sample.get("original_size", (h, w))
        targets.append(target)
    return images, targets
