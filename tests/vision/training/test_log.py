import csv
import errno
import json
from types import SimpleNamespace

import pytest

from vision.training.log import LOG, TABLE, Epochs, Log, read_records


def steps(epoch, *losses, **more):
    return [
        {"epoch": epoch, "step": 10 * epoch + i, "seconds": 1.5, "lr": 0.1, "losses": {"cls": loss, "box": 2 * loss},
         "gradient_norm": 3.0 * loss, "waited": 0.1} | more
        for i, loss in enumerate(losses)
    ]  # fmt: skip


def rows(text):
    return list(csv.DictReader(text.splitlines()))


def test_a_row_an_epoch_with_means_of_its_steps_and_its_metrics():
    epochs = Epochs()
    for record in steps(1, 1.0, 3.0):
        epochs.add(record)
    epochs.add({"epoch": 1, "step": 11, "seconds": 2.0, "metrics": {"AP50": 0.25, "classes": {"cat": 1}, "images": 3}})
    for record in steps(2, 0.5):
        epochs.add(record)
    first, second = rows(epochs.as_csv())
    assert list(first) == ["epoch", "step", "seconds", "lr", "loss_cls", "loss_box", "gradient_norm", "AP50", "images"]
    assert (first["epoch"], first["step"], first["seconds"], first["lr"]) == ("1", "11", "2.0", "0.1")
    assert (first["loss_cls"], first["loss_box"], first["gradient_norm"]) == ("2.0", "4.0", "6.0")
    assert (first["AP50"], first["images"]) == ("0.25", "3")
    assert (second["loss_cls"], second["AP50"]) == ("0.5", "")


def test_stages_have_rows_of_their_own_and_metrics_that_are_not_defined_are_empty():
    epochs = Epochs()
    for record in [*steps(1, 1.0, stage="body"), *steps(1, 5.0, stage="all")]:
        epochs.add(record)
    epochs.add({"epoch": 1, "step": 3, "seconds": 1, "stage": "all", "metrics": {"AP50": None}})
    assert [(row["stage"], row["loss_cls"]) for row in rows(epochs.as_csv())] == [("body", "1.0"), ("all", "5.0")]


def test_the_table_is_the_same_after_resuming(tmp_path):
    records = [*steps(1, 1.0, 2.0, 4.0), *steps(2, 8.0)]
    with Log(tmp_path, 0) as log:
        for record in records:
            log.write(record)
        length = log.flush()
        log.write_table()
        whole = (tmp_path / TABLE).read_text()
        log.write(steps(2, 9.0)[0])  # beyond the checkpoint
    assert (tmp_path / LOG).stat().st_size > length
    with Log(tmp_path, length) as log:
        log.write_table()
    assert (tmp_path / TABLE).read_text() == whole
    assert [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()] == records


def test_what_a_run_was_resumed_with_is_no_row():
    epochs = Epochs()
    epochs.add({"epoch": 3, "step": 9, "seconds": 1, "changed": {"lr": [0.1, 0.2]}})
    assert epochs.as_csv() == "\n"


class Full:
    """A file on a disk with room for so many bytes more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self.file.write(data[: self.room])
        self.room -= taken
        return taken

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 7])
def test_a_full_disk_leaves_whole_lines_and_names_the_file(tmp_path, room):
    with Log(tmp_path, 0) as log:
        log.write({"epoch": 1, "step": 1, "seconds": 0})
        whole = (tmp_path / LOG).read_bytes()
        log.file = Full(log.file, room)
        with pytest.raises(OSError, match=r"No space left on device: '.*metrics\.jsonl'") as full:
            log.write({"epoch": 1, "step": 2, "seconds": 0})
        assert full.value.errno == errno.ENOSPC and full.value.filename == str(tmp_path / LOG)
        assert (tmp_path / LOG).read_bytes() == whole
        assert log.flush() == len(whole)


def test_a_line_that_the_disk_takes_in_parts_is_whole(tmp_path):
    with Log(tmp_path, 0) as log:
        real = log.file
        log.file = SimpleNamespace(write=lambda data: real.write(data[:5]), close=real.close)
        log.write({"epoch": 1, "step": 1, "seconds": 0})
    assert json.loads((tmp_path / LOG).read_text()) == {"epoch": 1, "step": 1, "seconds": 0}


@pytest.mark.parametrize(
    "line",
    [
        "no json", "[1]", "7", '{"epoch": ', "\xff", "[" * 100_000, '{"step": 3}', '{"epoch": "1", "metrics": {}}',
        '{"epoch": 1, "losses": [1], "gradient_norm": 1}', '{"epoch": 1, "losses": {"a": "b"}, "gradient_norm": 1}',
        '{"epoch": 1, "gradient_norm": "1"}', '{"epoch": 1, "metrics": 7}', '{"epoch": 1, "stage": [1]}',
    ],
)  # fmt: skip
def test_a_damaged_log_is_named_with_its_line(tmp_path, line):
    whole = json.dumps(steps(1, 1.0)[0])
    (tmp_path / LOG).write_text(f"{whole}\n{line}\n{whole}\n", encoding="latin-1")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: damaged, no record of a run; restore it"):
        read_records(tmp_path / LOG)
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: damaged"):
        Log(tmp_path, 10**9)


def test_no_log(tmp_path):
    with pytest.raises(ValueError, match=r"metrics\.jsonl: there is no such log"):
        read_records(tmp_path / LOG)
