import math
import sys
from types import ModuleType

import pytest

from tests.vision.training.test_trainer import Batches, Killed, at, kill, log, trainer
from vision.training.events import PACKAGES, Events, scalars

RECORD = {"epoch": 2, "step": 7, "seconds": 1.5, "lr": 0.1, "losses": {"cls": 2.0, "box": math.nan}, "gradient_norm": 3}


def test_tags_of_a_record():
    assert scalars(RECORD) == {"lr": 0.1, "gradient_norm": 3.0, "loss/cls": 2.0}  # NaN has no place in a curve
    more = {"stage": "body", "validation": {"cls": 1.5, "box": None}, "speed": 9.5, "memory": 2**30}
    assert scalars(more) == {"body/validation/cls": 1.5, "body/speed": 9.5, "body/memory": 2.0**30}
    assert scalars({"metrics": {"AP50": 0.5, "classes": {"cat": 1}}}) == {"metrics/AP50": 0.5}
    assert scalars({"fit": {"support vectors": 12}}) == {"fit/support vectors": 12.0}
    assert scalars({"changed": {"lr": [1, 2]}}) == {}


def test_without_the_package_nothing_is_written_or_said(tmp_path, monkeypatch, caplog):
    for package in PACKAGES:
        for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
            monkeypatch.setitem(sys.modules, name, None)
    with Events(tmp_path, 0) as events:
        events.write(RECORD, 7)
    assert not list(tmp_path.iterdir())
    assert not caplog.messages


def test_a_package_that_cannot_be_loaded_is_noted_once(tmp_path, monkeypatch, caplog):
    class Broken(ModuleType):
        def __getattr__(self, name):
            raise TypeError("Descriptors cannot be created directly")

    messages = f"{PACKAGES['tensorboard'][1]}"
    monkeypatch.setitem(sys.modules, f"{messages}.event_pb2", ModuleType("event_pb2"))
    monkeypatch.setitem(sys.modules, f"{messages}.summary_pb2", Broken("summary_pb2"))
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with Events(tmp_path, 0) as events:
        events.write(RECORD, 7)
        events.write(RECORD, 8)
    text = "note: no TensorBoard events: tensorboard cannot be loaded: Descriptors cannot be created directly"
    assert caplog.messages == [text]


def read(folder):
    """{tag: [(step, value)]} as TensorBoard reads the event files of a folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder), size_guidance={accumulator.SCALARS: 0})
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_reads_the_log(tmp_path):
    pytest.importorskip("tensorboard")
    trainer(tmp_path, evaluate=lambda model: {"score": 0.5, "classes": {}}, metric="score").run()
    found, records = read(tmp_path), log(tmp_path)
    losses = [(r["step"], pytest.approx(r["losses"]["fit"])) for r in records if "losses" in r]
    assert len(losses) == 12 and found["loss/fit"] == losses
    assert found["lr"] == [(r["step"], pytest.approx(r["lr"])) for r in records if "lr" in r]
    assert found["metrics/score"] == [(4, 0.5), (8, 0.5), (12, 0.5)]
    assert set(found) == {"loss/fit", "lr", "gradient_norm", "metrics/score", "speed", "memory"}


def test_a_resumed_run_is_one_curve(tmp_path):
    """Killed after step 7, with step 4 saved: what was written after it is forgotten."""
    pytest.importorskip("tensorboard")
    with pytest.raises(Killed):
        trainer(tmp_path, Batches(at(1, 3, kill))).run()
    assert [step for step, _ in read(tmp_path)["loss/fit"]] == [1, 2, 3, 4, 5, 6, 7]
    again = trainer(tmp_path)
    again.resume()
    again.run()
    losses = [(r["step"], pytest.approx(r["losses"]["fit"])) for r in log(tmp_path) if "losses" in r]
    assert read(tmp_path)["loss/fit"] == losses
    assert [step for step, _ in losses] == list(range(1, 13))
