"""Where meta-train tasks lie: distances, the room they take, and the file."""

from pathlib import Path

import pytest
import torch

from hyperpeft.config import ConfigError
from hyperpeft.encoders import TextEncoder
from hyperpeft.tasks import Example, Task
from hyperpeft.trained_tasks import MOST_BYTES, NEAREST, TrainedTasks, direction

TEXTS = ["Tell the colour.", "Is it big?", "Who wrote it", "What is the capital?", "Translate."]


def task(name: str, *descriptions: str) -> Task:
    return Task(name, descriptions, (Example("a", "b"),), family=name)


def known(text: TextEncoder) -> TrainedTasks:
    found = TrainedTasks.of([*(task(str(n), one) for n, one in enumerate(TEXTS)), task("bare")], text)
    assert found is not None
    return found


def test_distance_is_the_mean_over_the_nearest(text_encoder: TextEncoder) -> None:
    asked = ["Say which colour it has.", "Name the colour."]
    unit = torch.nn.functional.normalize(text_encoder(TEXTS), dim=-1)
    mean = torch.nn.functional.normalize(text_encoder(asked).mean(0), dim=0)
    expected = sorted(1 - float(row @ mean) for row in unit)[:NEAREST]
    assert known(text_encoder).distance(asked, text_encoder) == pytest.approx(sum(expected) / NEAREST, abs=2e-3)
    assert known(text_encoder).distance(asked[::-1], text_encoder) == known(text_encoder).distance(asked, text_encoder)


def test_a_task_it_knows_alone_is_near(text_encoder: TextEncoder) -> None:
    alone = TrainedTasks.of([task("a", TEXTS[0])], text_encoder)
    assert alone is not None
    assert alone.distance([TEXTS[0]], text_encoder) == pytest.approx(0, abs=2e-3)
    other = alone.distance(["qwx 77 ((("], text_encoder)
    assert other is not None
    assert other > 0.01


def test_what_is_not_described_has_no_distance(text_encoder: TextEncoder) -> None:
    assert known(text_encoder).distance([], text_encoder) is None
    assert known(text_encoder).names == ("0", "1", "2", "3", "4")
    assert TrainedTasks.of([task("bare")], text_encoder) is None
    assert TrainedTasks.of([], text_encoder) is None


def test_many_tasks_are_thinned_over_families(text_encoder: TextEncoder) -> None:
    most = MOST_BYTES // (2 * text_encoder.d_text)
    found = TrainedTasks.of([task(f"{n:05}", TEXTS[n % 5]) for n in range(2 * most)], text_encoder)
    assert found is not None
    assert len(found.names) == most
    assert found.embeddings.numel() * found.embeddings.element_size() <= MOST_BYTES
    assert list(found.names) == [f"{2 * n:05}" for n in range(most)]


def test_the_file_is_read_back(text_encoder: TextEncoder, tmp_path: Path) -> None:
    before, file = known(text_encoder), tmp_path / "t.safetensors"
    assert TrainedTasks.load(file) is None
    before.save(file)
    after = TrainedTasks.load(file)
    assert after is not None
    assert after.names == before.names
    assert torch.equal(after.embeddings, before.embeddings)
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ConfigError, match=r"t\.safetensors is damaged"):
        TrainedTasks.load(file)


def test_a_direction_has_unit_length(text_encoder: TextEncoder) -> None:
    assert float(direction(TEXTS, text_encoder).norm()) == pytest.approx(1, abs=1e-5)
