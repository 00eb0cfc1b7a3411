"""Captioning by the scripts, on generated scenes; the measures of captions and of attention."""

import json
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

import vision
from datasets import Shapes
from nn.io.state import save_state
from scripts import evaluate, predict, train
from scripts.readers import readers_of
from scripts.readers.captioning import attention_on_objects, open_captioned_shapes
from vision import Preprocess
from vision.backbones import SqueezeNet
from vision.captioning import Captioner
from vision.captioning.captioner import CaptionerOptions
from vision.captioning.task import (
    caption_batch,
    caption_table,
    draw_captioned,
    evaluate_captioner,
    predict_caption,
)
from vision.sequence import Vocabulary, tokenise
from vision.training.saving import load_model

SMALL = ("width=1", "embedding_size=4", "hidden_size=6")
SCENES = ("--shapes-train", 10, "--shapes-val", 4, "--shapes-size", 32, 40, "--batch-size", 4, "--pictures", 2)


def scenes(n=4, size=(32, 40), split="val"):
    return open_captioned_shapes(Namespace(root=None, shapes_train=n, shapes_val=n, shapes_size=size), split)


def small(name="show_attend_tell_soft", **options):
    options = {"width": 1, "embedding_size": 4, "hidden_size": 6, "short_side": 32} | options
    return vision.build(name, scenes().classes, np.random.default_rng(0), **options)


class Oracle(Captioner):
    """Gives the first caption of each scene, with attention on the largest object at every word."""

    def __init__(self, data, caption=None):
        self.vocabulary, self.features, self.options = Vocabulary(data.classes), None, CaptionerOptions()
        self.preprocess = Preprocess(short_side=32, max_side=64, mean=0, std=1)
        self.samples, self.caption, self.next = [data[i] for i in range(len(data))], caption, 0

    def predict(self, images, beam_size):
        found = []
        for image in images:
            sample = self.samples[self.next]
            np.testing.assert_array_equal(image, sample["image"].transpose(2, 0, 1))
            self.next += 1
            ids = self.vocabulary.encode(self.caption or sample["caption"][0], end=True)
            mask = sample["masks"][sample["masks"].sum(axis=(1, 2)).argmax()]
            weights = mask.reshape(4, 8, 5, 8).mean(axis=(1, 3))
            attention = np.repeat((weights / weights.sum())[None], len(ids), axis=0)
            found.append({"caption": self.vocabulary.decode(ids), "ids": ids, "attention": attention})
        return found


@pytest.mark.parametrize("name", ["neuraltalk", "show_attend_tell_hard"])
def test_shapes_from_training_to_predictions(name, tmp_path, capsys):
    model = ("--model", name, "--set", *SMALL, "short_side=32")
    assert train.main([*model, *SCENES, "--run-dir", tmp_path / "run", "--epochs", 1, "--shapes-train", 12]) == 0
    out = capsys.readouterr().out
    assert "vocabulary of" in out
    assert "CIDEr-D" in out
    assert "attention" not in out or name == "show_attend_tell_hard"
    assert [path.name for path in (tmp_path / "run/pictures").iterdir()] == ["epoch_0001.png"]
    assert evaluate.main([tmp_path / "run/last.npz", "--json", tmp_path / "a.json"]) == 0
    logged = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()][-1]["metrics"]
    assert logged | {"images_per_second": 0} == json.loads((tmp_path / "a.json").read_text()) | {"images_per_second": 0}

    Image.fromarray(Shapes(1, (48, 64))[0]["image"]).save(tmp_path / "scene.png")
    assert predict.main([tmp_path / "run/last.npz", tmp_path / "scene.png", "--out", tmp_path / "out"]) == 0
    (record,) = json.loads((tmp_path / "out/predictions.json").read_text())
    assert set(tokenise(record["found"][0]["caption"])) <= set(scenes().classes)
    assert (tmp_path / "out/scene.png").exists()


def test_a_stopped_run_continues_bit_for_bit(tmp_path):
    """With the baseline of hard attention and its samples."""
    model = ("--model", "show_attend_tell_hard", "--set", *SMALL, "short_side=32", "dropout=0.2")
    options = (*model, *SCENES, "--evaluate-every", 0, "--epochs", 2, "--checkpoint-every", 1)
    assert train.main([*options, "--run-dir", tmp_path / "whole"]) == 0
    assert train.main([*options, "--run-dir", tmp_path / "parts", "--time-limit", 1e-6]) == 0
    assert train.main(["--run-dir", tmp_path / "parts", "--resume"]) == 0
    whole, parts = (np.load(tmp_path / run / "last.npz") for run in ("whole", "parts"))
    assert "model/baseline" in whole
    for name in whole.files:
        if name.startswith(("model/", "optimiser/")):
            np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


def test_scenes_have_two_captions_made_of_known_words():
    data = scenes(30)
    assert len(data) == 30
    for i in range(30):
        sample = data[i]
        assert len(sample["caption"]) == 2
        assert len(sample["boxes"]) <= 3
        assert {word for caption in sample["caption"] for word in tokenise(caption)} <= set(data.classes)
    few = scenes(2, split="train")
    assert few[0]["id"] != data[0]["id"]
    words = (*data.classes, "giraffe")
    assert (
        open_captioned_shapes(
            Namespace(root=None, shapes_train=2, shapes_val=2, shapes_size=(32, 40)), "val", words
        ).classes
        == words
    )


def test_true_captions_score_best():
    data = scenes(12)
    found = evaluate_captioner(Oracle(data), data)
    assert found["true"] == found["true_and_main"] == 1
    assert found["BLEU-4"] == pytest.approx(1)
    assert found["CIDEr-D"] > 4
    assert found["attention_by_chance"] < 0.2
    wrong = evaluate_captioner(Oracle(data, "a red circle"), data)
    assert wrong["true"] < 0.5
    assert wrong["CIDEr-D"] < found["CIDEr-D"]
    assert "CIDEr-D" in caption_table(found)
    json.dumps(found)


def test_errors_by_kind_add_up_with_what_is_true():
    """The first false claim counts: where there is no star, its colour and number are wrong, too."""
    data = scenes(12)
    sample = next(each for each in map(data.__getitem__, range(12)) if len(each["kinds"]) == 1)
    kind, colour = sample["kinds"][0], sample["colours"][0]
    others = [next(c for c in ("red", "blue") if c != colour), next(k for k in ("circle", "square") if k != kind)]
    captions = {
        f"a {colour} {kind}": "true", f"a {colour} {others[1]}": "wrong_kind", f"a {others[0]} {kind}": "wrong_colour",
        f"two {colour} {kind}s": "wrong_count", f"a {colour} {kind} {kind}": "wrong_unreadable",
    }  # fmt: skip
    for caption, wanted in captions.items():
        assert judged(data, sample, caption) == [wanted], caption
    pair = next(each for each in map(data.__getitem__, range(12)) if len(set(each["kinds"])) == 2)
    one, other = dict.fromkeys(pair["kinds"])
    relations = [judged(data, pair, f"a {one} {relation} a {other}") for relation in ("left of", "right of")]
    assert ["wrong_relation"] in relations


def judged(data, sample, caption):
    """The figures of a caption that are true."""
    figures = data.judge(sample, {"caption": caption}, caption.split())
    return [name for name, values in figures.items() if values == [True] and name != "true_and_main"]


def test_attention_is_measured_on_the_object_that_the_words_name():
    """Two objects of 4 x 4 pixels in 16 x 16: attention 1 on the first, 1/2 on each, uniform, for colour and kind."""
    masks = np.zeros((2, 16, 16), bool)
    masks[0, :4, :4] = masks[1, 8:12, 8:12] = True
    sample = {"masks": masks, "kinds": np.array(["circle", "square"]), "colours": np.array(["red", "blue"])}
    attention = np.zeros((5, 4, 4))
    attention[0], attention[1, 0, 0], attention[2, 0, 0], attention[2, 2, 2] = 1 / 16, 1, 0.5, 0.5
    attention[3] = attention[4] = 1 / 16
    pairs = attention_on_objects({"attention": attention}, ["a", "red", "circle", "blue", "squares"], sample)
    np.testing.assert_allclose(pairs, [[1, 1 / 16], [0.5, 1 / 16], [1 / 16, 1 / 16], [1 / 16, 1 / 16]])
    assert attention_on_objects({"attention": attention[:2]}, ["green", "circle"], sample) == []
    assert attention_on_objects({}, ["red", "circle"], sample) == []
    both = {"kinds": np.array(["circle", "circle"]), "colours": np.array(["red", "red"])}
    ((mass, chance),) = attention_on_objects({"attention": attention[2:3]}, ["circles"], sample | both)
    assert (mass, chance) == (1, pytest.approx(2 / 16))


def test_a_frozen_encoder_gets_features():
    data = scenes(2)
    samples = [data[0], data[1]]
    frozen = small(fine_tune=False)
    features, captions = caption_batch(frozen, samples)
    assert features.shape == (2, 8, 4, 5)
    images, _ = caption_batch(small(), samples)
    np.testing.assert_allclose(features, frozen.encoder(images), rtol=1e-5)
    assert captions == [sample["caption"] for sample in samples]
    frozen.loss((features, captions), np.random.default_rng(0))


def test_images_of_any_size_get_a_caption():
    model, rng = small(), np.random.default_rng(0)
    for size in ((40, 32), (17, 90), (300, 200)):
        image = rng.integers(0, 255, (*size, 3), np.uint8)
        found = predict_caption(model, {"image": image})
        assert found["attention"].ndim == 3
        assert draw_captioned(image, found, model.vocabulary.words).dtype == np.uint8


def test_an_image_without_caption_is_named():
    data, model = scenes(1), small()
    with pytest.raises(ValueError, match="SoftAttention: each image needs a list of captions, got \\[\\]"):
        model.loss(caption_batch(model, [{"image": data[0]["image"]}]), np.random.default_rng(0))


@pytest.mark.parametrize("beam_size", [0, -1, 1.5, "two"])
def test_bad_beam_sizes_are_refused(beam_size):
    with pytest.raises(ValueError, match="beam_size must be a whole number >= 1, got"):
        small().caption(scenes(1)[0]["image"], beam_size)
    with pytest.raises(ValueError, match="beam_size must be a"):
        small(beam_size=beam_size)


def test_a_beam_wider_than_the_vocabulary_finds_a_caption_at_least_as_probable():
    model, sample = small(), scenes(1)[0]
    many = small(beam_size=2 * len(model.vocabulary))  # the same weights
    narrow, wide = (predict_caption(m, sample) for m in (model, many))
    assert len(wide["attention"]) == len(wide["ids"])
    images, _ = caption_batch(model, [sample])

    def log_p(ids):
        state, last, total = model.first_state(model.encoder(images)), [model.vocabulary.start], 0
        for word in ids:
            log_p, state = model.step(state, np.array(last))
            total, last = total + log_p[0, word], [word]
        return total

    assert log_p(wide["ids"]) > log_p(narrow["ids"])


def test_photographs_of_all_shapes_are_scaled_into_one_batch(tmp_path, error_of):
    (tmp_path / "images").mkdir()
    rng, entries = np.random.default_rng(0), []
    for i, size in enumerate(((40, 60), (70, 30), (50, 50), (33, 80))):
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(tmp_path / f"images/{i}.png")
        split = "train" if i < 3 else "val"
        entries.append(
            {"id": i, "file": f"{i}.png", "split": split, "captions": ["A big dog.", "the big dog runs"] * 5}
        )
    (tmp_path / "captions.json").write_text(json.dumps(entries))
    data = ("--data", "listed_captions", "--root", tmp_path, "--batch-size", 3, "--pictures", 1)
    frozen = ("--model", "show_attend_tell_soft", "--set", *SMALL, "encoder=squeezenet", "fine_tune=false")
    options = ("square=true", "short_side=48", "max_side=48", "--epochs", 1, "--run-dir", tmp_path / "run")
    assert "give --set encoder_weights=FILE" in error_of(train.main, *frozen, *options, *data)
    save_state(SqueezeNet(1, 1, rng=np.random.default_rng(0)), tmp_path / "squeezenet.npz")
    given = [f"encoder_weights={tmp_path / 'squeezenet.npz'}"]
    assert train.main([*frozen, *given, *options, *data]) == 0
    model, _ = load_model(tmp_path / "run/last.npz")
    assert model.vocabulary.words[4:] == ("big", "dog", "a", "runs", "the")
    assert predict.main([tmp_path / "run/last.npz", tmp_path / "images", "--out", tmp_path / "out"]) == 0
    assert len(json.loads((tmp_path / "out/predictions.json").read_text())) == 4


def test_the_layouts_of_coco_and_flickr8k(tmp_path):
    for folder in ("val2017", "Flicker8k_Dataset", "annotations"):
        (tmp_path / folder).mkdir()
    for file in ("val2017/1.png", "Flicker8k_Dataset/a.png"):
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / file)
    written = [{"id": i, "image_id": 1, "caption": "a dog"} for i in range(5)]
    content = {"images": [{"id": 1, "file_name": "1.png"}], "annotations": written}
    (tmp_path / "annotations/captions_val2017.json").write_text(json.dumps(content))
    (tmp_path / "Flickr8k.token.txt").write_text("".join(f"a.png#{i}\ta cat\n" for i in range(5)))
    (tmp_path / "Flickr_8k.devImages.txt").write_text("a.png\n")
    coco, flickr = (
        readers_of("captioning")[name].open(Namespace(data=name, root=tmp_path), readers_of("captioning")[name].val)
        for name in ("coco_captions", "flickr8k")
    )
    assert (coco.classes[4:], coco[0]["caption"]) == (("a", "dog"), ["a dog"] * 5)
    assert (flickr.classes[4:], flickr[0]["id"]) == (("a", "cat"), "a.png")


@pytest.mark.parametrize("name", ["listed_captions", "coco_captions", "flickr8k"])
def test_photographs_need_a_root(name, error_of, tmp_path):
    error = error_of(train.main, "--model", "neuraltalk", "--data", name, "--run-dir", tmp_path / "run")
    assert f"--data {name} needs --root DIR" in error
