"""Similarity of captions to human references: BLEU, ROUGE-L and CIDEr-D of the COCO caption evaluation.

hypotheses  N captions, one for each image, each a list of words
references  N lists, one for each image, of one or more captions

Words are compared as they are: use one tokeniser for both, for example vision.sequence.tokenise.

Reference: Chen et al. 2015, Microsoft COCO captions: data collection and evaluation server, arXiv:1504.00325, sec. 3.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

Words = Sequence[str]
MAX_N = 4  # words in the longest n-grams


def caption_scores(hypotheses: Sequence[Words], references: Sequence[Sequence[Words]]) -> dict[str, float]:
    """BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D of the whole corpus; document frequencies from the references."""
    bleu = corpus_bleu(hypotheses, references)
    means = {"ROUGE-L": rouge_l(hypotheses, references).mean(), "CIDEr-D": cider_d(hypotheses, references).mean()}
    return {f"BLEU-{n}": float(b) for n, b in enumerate(bleu, 1)} | {name: float(v) for name, v in means.items()}


def ngrams(words: Words, n: int) -> Counter:
    """How often each n-gram, a tuple of n neighbouring words, occurs."""
    return Counter(zip(*(words[i:] for i in range(n))))


def modified_precision(hypotheses: Sequence[Words], references: Sequence[Sequence[Words]], n: int) -> tuple[int, int]:
    """(matched, all) n-grams of the hypotheses; an n-gram matches at most as often as one of the references has it.

    Reference: Papineni et al. 2002, BLEU: a method for automatic evaluation of machine translation, sec. 2.1, 2.1.1.
    """
    matched = total = 0
    for hypothesis, captions in zip(hypotheses, references):
        counts, most = ngrams(hypothesis, n), Counter()
        for caption in captions:
            most |= ngrams(caption, n)  # the larger count of each
        matched, total = matched + (counts & most).total(), total + counts.total()
    return matched, total


def corpus_bleu(hypotheses: Sequence[Words], references: Sequence[Sequence[Words]], max_n: int = MAX_N) -> np.ndarray:
    """BLEU-1 to BLEU-max_n of a corpus, (max_n,), each in 0 .. 1.

    BLEU-n = BP * (p_1 * ... * p_n)^(1 / n),  BP = min(1, exp(1 - r / c))

    p_k is the modified precision of k-grams over the whole corpus, c the words in the hypotheses, r those of the
    references closest in length (the shorter of two equally close). Not smoothed: no match of length k gives 0.
    Raises ValueError for captions that are text instead of words, and images without reference.

    Reference: Papineni et al. 2002, sec. 2.3.
    """
    _check("corpus_bleu", hypotheses, references)
    counts = [modified_precision(hypotheses, references, n) for n in range(1, max_n + 1)]
    precisions = np.array([matched / max(total, 1) for matched, total in counts])
    c = sum(map(len, hypotheses))
    r = sum(min((abs(len(caption) - len(h)), len(caption)) for caption in captions)[1]
            for h, captions in zip(hypotheses, references))  # fmt: skip
    brevity = math.exp(min(0, 1 - r / c)) if c else 0
    return brevity * np.cumprod(precisions) ** (1 / np.arange(1, max_n + 1))


def rouge_l(hypotheses: Sequence[Words], references: Sequence[Sequence[Words]], beta: float = 1.2) -> np.ndarray:
    """ROUGE-L of each hypothesis, (N,), each in 0 .. 1: an F-measure of the longest common subsequence (LCS).

    P = max over references of LCS / length of the hypothesis,  R = max over them of LCS / length of the reference
    ROUGE-L = (1 + beta^2) P R / (R + beta^2 P)

    Reference: Lin 2004, ROUGE: a package for automatic evaluation of summaries, eq. 2 to 4; the two maxima, which may
    be of different references, and beta are those of the COCO evaluation.
    """
    _check("rouge_l", hypotheses, references)
    scores = np.zeros(len(hypotheses))
    for i, (hypothesis, captions) in enumerate(zip(hypotheses, references)):
        common = [longest_common_subsequence(hypothesis, caption) for caption in captions]
        precision = max(common) / max(len(hypothesis), 1)
        recall = max(length / max(len(caption), 1) for length, caption in zip(common, captions))
        if precision:
            scores[i] = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    return scores


def longest_common_subsequence(a: Words, b: Words) -> int:
    """Length of the longest sequence of words that both have in this order, not necessarily adjacent."""
    row = [0] * (len(b) + 1)  # of the words of a so far and the first j of b
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


Vectors = list[dict[tuple[str, ...], float]]  # for n = 1 .. MAX_N: the weight of each n-gram


def tf_idf(corpus: Sequence[Sequence[Words]]) -> Callable[[Words], Vectors]:
    """The function caption -> tf-idf weights of its n-grams, n = 1 .. 4.

    weight = how often the caption has the n-gram * log(number of images / number of images with the n-gram)

    corpus: for each image its captions; an n-gram in any of them is one of the image. Unseen ones count as seen once.

    Reference: Vedantam et al. 2015, arXiv:1411.5726, eq. 1 (there divided by the length, which cancels in a cosine).
    """
    frequency = Counter()
    for captions in corpus:
        frequency.update({gram for caption in captions for n in range(1, MAX_N + 1) for gram in ngrams(caption, n)})
    images = math.log(len(corpus))

    def weigh(words: Words) -> Vectors:
        counts = (ngrams(words, n) for n in range(1, MAX_N + 1))
        return [{gram: k * (images - math.log(max(1, frequency[gram]))) for gram, k in c.items()} for c in counts]

    return weigh


def norms(vectors: Vectors) -> list[float]:
    """The length of each vector; infinity where it is 0: its cosine with any vector is then 0."""
    return [math.sqrt(sum(w * w for w in vector.values())) or math.inf for vector in vectors]


def length_penalty(difference: float, sigma: float = 6.0) -> float:
    """exp(-difference^2 / (2 sigma^2)), difference: of the lengths of two captions in words."""
    return math.exp(-(difference**2) / (2 * sigma**2))


def cider_d(
    hypotheses: Sequence[Words],
    references: Sequence[Sequence[Words]],
    corpus: Sequence[Sequence[Words]] | None = None,
) -> np.ndarray:
    """CIDEr-D of each hypothesis, (N,), each in 0 .. 10.

    10 * mean over n = 1 .. 4 and the image's references r of
        exp(-(l(h) - l(r))^2 / (2 sigma^2)) * min(g_n(h), g_n(r)) . g_n(r) / (|g_n(h)| |g_n(r)|)

    g_n: tf-idf weights of the n-grams, l: number of words, sigma = 6. Document frequencies come from `corpus`, by
    default the references. With a single image all scores are 0.

    Reference: Vedantam et al. 2015, CIDEr: consensus-based image description evaluation, arXiv:1411.5726, eq. 2, 5, 6.
    """
    _check("cider_d", hypotheses, references)
    weigh, scores = tf_idf(references if corpus is None else corpus), np.zeros(len(hypotheses))
    for i, (hypothesis, captions) in enumerate(zip(hypotheses, references)):
        vectors = weigh(hypothesis)
        for caption in captions:
            cosines = _clipped_cosines(vectors, weigh(caption))
            scores[i] += 10 / len(captions) * length_penalty(len(hypothesis) - len(caption)) * np.mean(cosines)
    return scores


def _clipped_cosines(hypothesis: Vectors, reference: Vectors) -> list[float]:
    """For each n: min(g(h), g(r)) . g(r) / (|g(h)| |g(r)|)."""
    products = [sum(min(w, r[g]) * r[g] for g, w in h.items() if g in r) for h, r in zip(hypothesis, reference)]
    return [product / (h * r) for product, h, r in zip(products, norms(hypothesis), norms(reference))]


def _check(owner, hypotheses, references):
    if len(hypotheses) != len(references) or not len(references):
        raise ValueError(
            f"{owner}: wanted as many hypotheses as images with references, at least one, got {len(hypotheses)} and "
            f"{len(references)}"
        )
    for i, captions in enumerate(references):
        if isinstance(captions, str) or not len(captions):
            raise ValueError(f"{owner}: references[{i}] must be a list of at least one caption, got {captions!r}")
        if text := [caption for caption in (hypotheses[i], *captions) if isinstance(caption, str)]:
            raise ValueError(f"{owner}: captions must be lists of words, got the text {text[0]!r}: tokenise it")
