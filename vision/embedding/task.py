"""Embedding as a task: batches, nearest neighbours and what else is measured, maps and sheets of what is found."""

import numpy as np

from vision.classification.draw import draw_label
from vision.embedding.draw import draw_map, draw_retrieval, draw_roc
from vision.embedding.embedder import Embedder, EmbeddingBatch
from vision.embedding.evaluate import (
    Embedded,
    embed_all,
    embedding_table,
    evaluate_embedder,
    random_pairs,
)
from vision.embedding.gallery import search
from vision.embedding.metrics import area_under, roc
from vision.task import TASKS, Task

SHOWN, FOUND = 12, 8  # queries of a sheet, and what is found for each
MAPPED = 2000  # points of a map at most


def embedding_batch(model: Embedder, samples: list[dict]) -> EmbeddingBatch:
    """images (N, 3, H, W) float32, labels (N,) int64, similar (N // 2,) bool: known, or those of one label."""
    images = model.preprocess.batch_of(samples)
    labels = np.array([sample.get("label", -1) for sample in samples], np.int64)
    pairs = zip(samples[0::2], labels[0::2], labels[1::2])
    similar = [sample.get("similar", first == second) for sample, first, second in pairs]
    return EmbeddingBatch(images, labels, np.array(similar, bool))


def embed(model: Embedder, sample: dict) -> dict:
    """{embedding: (D,)}."""
    return {"embedding": model.embed(sample["image"])}


def describe_embedding(prediction: dict, classes) -> list[float]:
    """The elements of the vector."""
    return [round(float(value), 6) for value in prediction["embedding"]]


def draw_embedded(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image above the first elements of its vector, and its class if a sample is given."""
    vector = prediction["embedding"]
    text = " ".join(f"{value:.2f}" for value in vector[:6]) + (" ..." if len(vector) > 6 else "")
    name = None if sample is None else str(classes[sample["label"]])
    return draw_label(image, text, name)


def draw_embedder(model: Embedder, dataset, failed: list[str] | None = None) -> dict[str, np.ndarray]:
    """{map, retrieval, roc}: a map of the points, what is nearest to some queries, and verification.

    map_of_forms: the map in the colours of the forms, where images come in several.
    """
    data, pictures = embed_all(model, dataset, failed), {}
    some = np.linspace(0, len(data.labels) - 1, min(MAPPED, len(data.labels))).astype(int)
    points, title = flattened(data.vectors[some])
    images = [dataset[int(i)]["image"] for i in some] if points.shape[1] == 2 else []
    pictures["map"] = draw_map(points, data.labels[some], dataset.classes, images, title)
    if data.forms is not None:
        pictures["map_of_forms"] = draw_map(points, data.forms[some], dataset.forms, title=f"{title}, by form")
    pictures["retrieval"] = retrieval_sheet(model, data, dataset)
    similarity, same = random_pairs(model, data)
    if same.any() and not same.all():
        wrong, right = roc(similarity, same)
        pictures["roc"] = draw_roc(wrong, right, area_under(wrong, right))
    return pictures


def flattened(vectors: np.ndarray) -> tuple[np.ndarray, str]:
    """Vectors of two or three dimensions as they are, others by their two principal components; and what it is."""
    if vectors.shape[1] in (2, 3):
        return vectors, f"{vectors.shape[1]} dimensions, as learned"
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    share = (centred @ axes.T).var(axis=0).sum() / centred.var(axis=0).sum()
    return centred @ axes.T, f"two principal components of {vectors.shape[1]}: {share:.0%} of the variance"


def retrieval_sheet(model: Embedder, data: Embedded, dataset) -> np.ndarray:
    """Queries across the data set, each with its nearest images: framed green where of its class, else red.

    They are searched among all others, or among the supports of the query's one-shot run.
    """
    asked = np.arange(len(data.labels)) if data.runs is None else np.flatnonzero(~data.supports)
    queries = asked[np.linspace(0, len(asked) - 1, min(SHOWN, len(asked))).astype(int)]
    found = []
    for query in queries:
        others = np.arange(len(data.labels)) != query
        among = np.flatnonzero(others if data.runs is None else data.supports & (data.runs == data.runs[query]))
        nearest = search(model.similarity, data.vectors[query][None], data.vectors[among], FOUND).indices[0]
        found.append(among[nearest])
    images = [[dataset[int(i)]["image"] for i in row] for row in found]
    right = [(data.labels[row] == data.labels[query]).tolist() for query, row in zip(queries, found)]
    return draw_retrieval([dataset[int(i)]["image"] for i in queries], images, right)


TASKS["embedding"] = Task(
    metric="accuracy",
    collate=embedding_batch,
    predict=embed,
    evaluate=evaluate_embedder,
    table=embedding_table,
    describe=describe_embedding,
    select=lambda prediction, threshold: prediction,
    draw=draw_embedded,
    closed=False,
    pictures=draw_embedder,
)
