import runpy
from pathlib import Path

import pytest
import torch
from conftest import awake, character_tokenizer, color_episode
from families import draw_images, save_family, shown
from PIL import Image
from torch.nn import functional
from transformers import CLIPModel, ViTModel

import hyperpeft
from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.adapters import Lora
from hyperpeft.backbones import Vision
from hyperpeft.config import ConfigError
from hyperpeft.corpora import Images as ImageFolders
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode, Task, TaskError
from hyperpeft.weights import AdapterWeights


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return draw_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vision")
    return {name: save_family(name, root / name, character_tokenizer()) for name in ("vit", "clip")}


@pytest.fixture
def episode(paths: dict[str, str]) -> Episode:
    return shown(color_episode(), paths)


def pixels(backbone: Vision, path: str) -> torch.Tensor:
    return backbone.tokenizer(images=Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"]


def test_prototypes_of_a_vit_are_sums_of_class_tokens(places: dict[str, Path], episode: Episode) -> None:
    backbone = Vision(str(places["vit"]), dtype="float32")
    model = ViTModel.from_pretrained(places["vit"])

    def feature(path: str) -> torch.Tensor:
        with torch.no_grad():
            hidden = model(pixel_values=pixels(backbone, path)).last_hidden_state[0, 0]
        return functional.normalize(hidden, dim=0)

    prototypes = [sum(feature(e.input) for e in episode.support if e.output == label) for label in episode.labels]
    cosines = [[functional.cosine_similarity(feature(q.input), p, 0) for p in prototypes] for q in episode.query]
    expected = (torch.tensor(cosines) * torch.tensor(3.0).exp()).softmax(1)
    torch.testing.assert_close(backbone.probabilities([episode])[0], expected, rtol=1e-4, atol=1e-5)


def test_clip_without_support_is_clip_zero_shot(places: dict[str, Path], episode: Episode) -> None:
    backbone = Vision(str(places["clip"]), dtype="float32", template="a {label} thing")
    model = CLIPModel.from_pretrained(places["clip"])
    with torch.no_grad():
        expected = torch.stack(
            [
                torch.stack(
                    [
                        model(
                            pixel_values=pixels(backbone, query.input),
                            input_ids=torch.tensor(backbone.tokens([f"a {label} thing"])),
                        ).logits_per_image[0, 0]
                        for label in episode.labels
                    ]
                )
                for query in episode.query
            ]
        )
    cosines = expected / model.logit_scale.exp()
    shotless = Episode(episode.task, (), (), episode.query, episode.labels)
    found = backbone.probabilities([shotless])[0]
    torch.testing.assert_close(found, (cosines * torch.tensor(3.0).exp()).softmax(1).detach(), rtol=1e-4, atol=1e-5)


def test_adapters_act_on_the_vision_tower_only(places: dict[str, Path]) -> None:
    paths = [target.path for target in Vision(str(places["clip"]), dtype="float32").linear_modules()]
    assert paths
    assert not [path for path in paths if path.startswith("text_")]


def test_without_a_text_tower_every_label_needs_an_example(places: dict[str, Path], episode: Episode) -> None:
    unseen = Episode(episode.task, (), episode.support, episode.query, (*episode.labels, "blue"))
    Vision(str(places["clip"]), dtype="float32").check(unseen)
    with pytest.raises(ValueError, match=r"no example of the label\(s\) \['blue'\].*cannot read their texts"):
        Vision(str(places["vit"]), dtype="float32").check(unseen)


def test_what_is_no_image_is_named(places: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("no pixels", encoding="utf-8")
    backbone = Vision(str(places["vit"]), dtype="float32")
    for path in (str(tmp_path / "note.png"), str(tmp_path / "missing.png"), "where is my refund?"):
        with pytest.raises(TaskError, match=r"cannot be read.*paths of image files"):
            backbone.inputs([[]], [[path]], 1)


def test_poolings_that_do_not_exist_or_do_not_fit_are_named(places: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="pooling 'means' does not exist"):
        Vision(str(places["vit"]), pooling="means")
    with pytest.raises(ConfigError, match="would not match the label texts of clip"):
        Vision(str(places["clip"]), pooling="mean")


def test_the_poolings_differ(places: dict[str, Path], episode: Episode) -> None:
    found = [
        Vision(str(places["vit"]), dtype="float32", pooling=name).probabilities([episode])[0]
        for name in ("cls", "mean", "pooler")
    ]
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("digits")
    runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "write_digits.py"))["write_digits"](folder, 24)
    return next(task for task in ImageFolders(str(folder)).read() if task.name == "zero_or_one")


def shots(task: Task, count: int) -> Episode:
    """So many support examples a label; the others are the query."""
    by_label = [[example for example in task.examples if example.output == label] for label in task.labels]
    support = tuple(example for group in by_label for example in group[:count])
    query = tuple(example for group in by_label for example in group[count:])
    return Episode(task.name, task.descriptions, support, query, tuple(task.labels), metric="accuracy")


def test_a_brief_fine_tune_on_real_digits_carries_over_to_images_not_shown(
    places: dict[str, Path], digits: Task
) -> None:
    """Class tokens of a random ViT are at chance; 30 steps on eight shots are not."""
    backbone = Vision(str(places["vit"]), dtype="float32")
    episode = shots(digits, 8)
    start = backbone.start(Lora(rank=2, targets=["all-linear"]))

    def accuracy(weights: AdapterWeights) -> float:
        with backbone.adapted(weights):
            said = backbone.predict([episode])[0]
        return sum(label == e.output for label, e in zip(said, episode.query, strict=True)) / len(said)

    tuned = finetune(backbone, start, [episode], FinetuneSettings(steps=30, lr=3e-3))
    assert accuracy(start) < 0.65
    assert accuracy(tuned) > 0.8


def test_the_same_generate_call_takes_images(
    places: dict[str, Path], digits: Task, generator_settings: dict[str, dict[str, object]]
) -> None:
    settings = {**generator_settings, "backbone": {"kind": "vision", "model": str(places["vit"]), "dtype": "float32"}}
    episode = shots(digits, 2)
    adapter = hyperpeft.generate(
        "Zero or one?",
        examples=[(example.input, example.output) for example in episode.support],
        generator=awake(Generator.build(settings)),
    )
    assert {*adapter.predict([example.input for example in episode.query[:3]])} <= {"zero", "one"}
    with pytest.raises(TaskError, match="paths of image files"):
        adapter.predict(["a picture of a zero"])
