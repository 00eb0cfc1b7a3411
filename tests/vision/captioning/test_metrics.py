"""Caption metrics: examples of their papers, figures of the COCO evaluation, and the evaluation itself if installed."""

import math

import numpy as np
import pytest

from vision.captioning.metrics import (
    caption_scores,
    cider_d,
    corpus_bleu,
    longest_common_subsequence,
    modified_precision,
    ngrams,
    rouge_l,
    tf_idf,
)
from vision.captioning.typical import mean_cider_d, most_typical_caption

# Papineni et al. 2002, examples 1 and 2
GUIDE = """it is a guide to action that ensures that the military will forever heed party commands
it is the guiding principle which guarantees the military forces always being under the command of the party
it is the practical guide for the army always to heed the directions of the party"""
GUIDE = [line.split() for line in GUIDE.splitlines()]
GOOD = "it is a guide to action which ensures that the military always obeys the commands of the party".split()
BAD = "it is to insure the troops forever hearing the activity guidebook that party direct".split()
CAT = ["the cat is on the mat".split(), "there is a cat on the mat".split()]
CORPUS = [
    (
        "a man rides a brown horse on the beach",
        ["a man riding a horse on a beach", "a person rides a brown horse along the beach"],
    ),
    (
        "a dog is in the grass with a frisbee",
        [
            "the dog jumps for a frisbee in the grass",
            "a dog catches a frisbee",
            "a brown dog in the grass with a frisbee",
        ],
    ),
    (
        "a man a man a man in a red hat",
        ["a man in a red hat holds a sign", "a man wearing a red hat and a coat in the street"],
    ),
    ("two cats", ["two cats are sleeping on a red couch", "cats on a couch"]),
]
HYPOTHESES = [hypothesis.split() for hypothesis, _ in CORPUS]
REFERENCES = [[caption.split() for caption in captions] for _, captions in CORPUS]


@pytest.mark.parametrize(
    ("hypothesis", "references", "n", "precision"),
    [
        (GOOD, GUIDE, 1, (17, 18)),
        (BAD, GUIDE, 1, (8, 14)),
        (GOOD, GUIDE, 2, (10, 17)),
        (BAD, GUIDE, 2, (1, 13)),
        (["the"] * 7, CAT, 1, (2, 7)),
        (["the"] * 7, CAT, 2, (0, 6)),
        (["of", "the"], GUIDE, 1, (2, 2)),  # example 3: too short, but precise
        (["of", "the"], GUIDE, 2, (1, 1)),
        ([], CAT, 1, (0, 0)),
    ],
)
def test_modified_precision_as_published(hypothesis, references, n, precision):
    assert modified_precision([hypothesis], [references], n) == precision


def test_bleu_by_hand():
    """Counts are summed over the corpus before the division; r is 16 + 6, c 18 + 2."""
    precisions = np.cumprod([(17 + 2) / (18 + 2), (10 + 1) / (17 + 1), 7 / 16, 4 / 15])
    expected = math.exp(1 - (18 + 6) / (18 + 2)) * precisions ** (1 / np.arange(1, 5))
    references = [GUIDE, [["the", "cat", "is", "on", "a", "mat"]]]
    np.testing.assert_allclose(corpus_bleu([GOOD, ["the", "cat"]], references), expected, rtol=1e-12)


def test_brevity_penalty():
    references = [[list("abcdefghijkl"), list("abcdefghijklmnopqrstuvwxyz")]]
    assert corpus_bleu([list("abcdefghijkl")], references) == pytest.approx([1] * 4)  # the closest length, not more
    assert corpus_bleu([list("abcdefghijklmnop")], references) == pytest.approx([1] * 4)  # longer than the closest
    assert corpus_bleu([list("abcdef")], references) == pytest.approx([math.exp(1 - 12 / 6)] * 4)
    tie = [[list("abcdef"), list("abcdefgh")]]  # 7 words: 6 and 8 are equally close, and 6 is taken
    assert corpus_bleu([list("abcdefg")], tie)[0] == pytest.approx(1)


def test_bleu_of_nothing():
    assert corpus_bleu([[]], [CAT]).tolist() == [0] * 4
    assert corpus_bleu([["dog"]], [CAT]).tolist() == [0] * 4
    assert corpus_bleu([["the", "cat"]], [CAT], max_n=3)[2] == 0


def test_longest_common_subsequence_against_recursion():
    def slow(a, b):
        if not a or not b:
            return 0
        return 1 + slow(a[1:], b[1:]) if a[0] == b[0] else max(slow(a[1:], b), slow(a, b[1:]))

    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = (["abc"[k] for k in rng.integers(3, size=rng.integers(7))] for _ in range(2))
        assert longest_common_subsequence(a, b) == slow(a, b)


def test_rouge_l_as_published():
    """Lin 2004, sec. 3.1: with beta = 1 the second candidate has 3/4, the third 1/2, the fourth 1/2."""
    reference = [["police", "killed", "the", "gunman"]]
    candidates = ["police kill the gunman", "the gunman kill police", "the gunman police killed"]
    assert rouge_l([c.split() for c in candidates], [reference] * 3, beta=1).tolist() == [0.75, 0.5, 0.5]


def test_rouge_l_takes_the_best_precision_and_recall():
    precision, recall, b = 1, 2 / 3, 1.2**2
    score = rouge_l([["a", "b"]], [[["a", "c", "b"], ["b", "a", "d", "e"]]])
    assert score == pytest.approx([(1 + b) * precision * recall / (recall + b * precision)])
    assert rouge_l([["x"], []], [[["a"]], [["a"]]]).tolist() == [0, 0]


def test_tf_idf_by_hand():
    weigh = tf_idf([[["a", "b"], ["a", "c"]], [["a", "d", "a"]], [["e"]]])
    one, two, three, four = weigh(["a", "a", "b", "x"])
    assert one == pytest.approx({("a",): 2 * math.log(3 / 2), ("b",): math.log(3), ("x",): math.log(3)})
    assert two == pytest.approx({("a", "a"): math.log(3), ("a", "b"): math.log(3), ("b", "x"): math.log(3)})
    assert (len(three), len(four)) == (2, 1)


def test_cider_d_by_hand():
    """Words that are in no other image, so that all have the same weight."""
    references = [[["a"]], [["p"]]]
    assert cider_d([["a"], ["q"]], references) == pytest.approx([10 / 4, 0])
    # "a b" against "a": cosines 1 / sqrt(2) of words, 0 of pairs; one word longer
    assert cider_d([["a", "b"], ["p"]], references)[0] == pytest.approx(
        10 / 4 / math.sqrt(2) * math.exp(-1 / (2 * 36)), rel=1e-12
    )
    # clipping: "a a" has the weight 2 for a, and no more than the 1 of the reference counts
    assert cider_d([["a", "a"], ["p"]], references)[0] == pytest.approx(10 / 4 / 2 * math.exp(-1 / 72), rel=1e-12)


def test_cider_d_of_one_image_needs_another_corpus():
    caption = "a b c d e".split()
    assert cider_d([caption], [[caption]]) == [0]
    assert cider_d([caption], [[caption]], corpus=[[caption], [["x"]]]) == pytest.approx([10])


def test_the_scores_that_the_coco_evaluation_printed():
    """pycocoevalcap 1.2 (Bleu(4), Rouge, Cider) on CORPUS."""
    bleu = [0.8382539536951883, 0.7492023698182299, 0.6272389807484585, 0.5445550243088294]
    np.testing.assert_allclose(corpus_bleu(HYPOTHESES, REFERENCES), bleu, atol=1e-9)
    rouge = [0.7777777777777778, 0.8888888888888888, 0.6376306620209059, 0.3609467455621302]
    np.testing.assert_allclose(rouge_l(HYPOTHESES, REFERENCES), rouge, atol=1e-12)
    cider = [3.179503303877456, 3.6176703721312826, 2.9120983244085545, 1.3378835773595874]
    np.testing.assert_allclose(cider_d(HYPOTHESES, REFERENCES), cider, atol=1e-12)


def test_against_the_coco_evaluation():
    pytest.importorskip("pycocoevalcap")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    rng = np.random.default_rng(1)
    words = np.array("a man dog".split())  # few, so that n-grams of every length match: it smooths zeros

    def caption():
        return words[rng.integers(len(words), size=rng.integers(1, 12))].tolist()

    for _ in range(20):
        hypotheses = [caption() for _ in range(30)]
        references = [[caption() for _ in range(rng.integers(1, 6))] for _ in range(30)]
        known = {i: [" ".join(c) for c in captions] for i, captions in enumerate(references)}
        said = {i: [" ".join(hypothesis)] for i, hypothesis in enumerate(hypotheses)}
        np.testing.assert_allclose(
            corpus_bleu(hypotheses, references), Bleu(4).compute_score(known, said, 0)[0], rtol=0, atol=1e-9
        )
        np.testing.assert_allclose(
            rouge_l(hypotheses, references), Rouge().compute_score(known, said)[1], rtol=0, atol=1e-9
        )
        np.testing.assert_allclose(
            cider_d(hypotheses, references), Cider().compute_score(known, said)[1], rtol=0, atol=1e-9
        )


def test_scores_of_the_corpus():
    scores = caption_scores(HYPOTHESES, REFERENCES)
    assert list(scores) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D"]
    assert list(scores.values())[:4] == corpus_bleu(HYPOTHESES, REFERENCES).tolist()
    assert scores["ROUGE-L"] == rouge_l(HYPOTHESES, REFERENCES).mean()
    assert scores["CIDEr-D"] == cider_d(HYPOTHESES, REFERENCES).mean()
    perfect = caption_scores([captions[0] for captions in REFERENCES], [captions[:1] for captions in REFERENCES])
    assert perfect == pytest.approx(dict.fromkeys(scores, 1) | {"CIDEr-D": 10})


@pytest.mark.parametrize("metric", [corpus_bleu, rouge_l, cider_d])
@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        ([["a"]], [], "as many hypotheses as images with references, at least one, got 1 and 0"),
        ([], [], "at least one, got 0 and 0"),
        ([["a"]], [[]], r"references\[0\] must be a list of at least one caption, got \[\]"),
        ([["a"]], ["a b"], r"references\[0\] must be a list of at least one caption, got 'a b'"),
        (["a b"], [[["a"]]], "captions must be lists of words, got the text 'a b': tokenise it"),
        ([["a"]], [["a b"]], "captions must be lists of words, got the text 'a b': tokenise it"),
    ],
)
def test_bad_input(metric, hypotheses, references, message):
    with pytest.raises(ValueError, match=f"{metric.__name__}: .*{message}"):
        metric(hypotheses, references)


def test_mean_cider_d_is_that_of_all_pairs():
    captions = [caption for image in [*REFERENCES, [["two"], ["a", "a", "man", "a", "man"]]] for caption in image]
    references = [captions[i : i + 3] for i in range(0, len(captions), 3)]
    expected = [
        np.mean([cider_d([h], [[r]], corpus=references)[0] for j, r in enumerate(captions) if j != i])
        for i, h in enumerate(captions)
    ]
    np.testing.assert_allclose(mean_cider_d(references), expected, rtol=1e-10)
    assert most_typical_caption(references) == captions[int(np.argmax(expected))]


def test_the_most_typical_caption_is_like_most():
    references = [["a dog runs".split()], ["a dog sits".split(), "a cat sits".split()], ["two trains".split()]]
    assert most_typical_caption(references) == ["a", "dog", "sits"]
    with pytest.raises(ValueError, match="at least two captions, got 1"):
        most_typical_caption([[["a"]]])


def test_ngrams():
    assert ngrams("a b a b".split(), 2) == {("a", "b"): 2, ("b", "a"): 1}
    assert not ngrams(["a"], 2)
