"""The main job in code: generate adapters, load them, export several."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.adapter import Adapter, Examples
from hyperpeft.asked import asked_episode
from hyperpeft.backbones import Backbone
from hyperpeft.confidence import nearest
from hyperpeft.config import ConfigError
from hyperpeft.exports import check_unchanged, written_at_once
from hyperpeft.generator import Generator
from hyperpeft.hub import fetched
from hyperpeft.loading import load_backbone, load_generator, read_about
from hyperpeft.schedule import step_size
from hyperpeft.selection import ENOUGH, choose, choose_simple
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights, load_weights

log = logging.getLogger(__name__)
Labels = Sequence[str] | Mapping[str, str]
Select = Literal["generated", "auto"]


def generate(
    task_description: str | Sequence[str] | None = None,
    examples: Examples | None = None,
    *,
    labels: Labels | None = None,
    generator: str | Path | Generator | None = None,
    finetune_steps: int = 0,
    lr: float | None = None,
    select: Select = "generated",
    fallback: bool = False,
) -> Adapter:
    """An adapter for a task from its description (or several paraphrases), its examples, or both.

    `labels`: the label set, or labels with their descriptions; read from the examples' outputs if the backbone
    classifies and none is given. `generator`: a folder or a Generator; default the one inside the package.
    `select="auto"` asks 8 examples or more, by cross-validation, if no adapter, the shared one or the generated one
    (fine-tuned, with `finetune_steps`) does best, and takes that; `adapter.choice` names it. With fewer it is the
    generated one. `fallback=True` takes, unless "auto" compared them, the shared adapter or none, not fine-tuned, where
    `adapter.confidence` is low (docs/use.md says what that costs).
    `lr`: as in `Adapter.finetune`.
    Raises TaskError or ValueError saying what is missing: neither description nor examples, an output that is not
    among the labels, ...
    """
    task = {"description": task_description, "examples": examples, "labels": labels}
    if select not in ("generated", "auto"):
        raise ValueError(f"select is {select!r}: there is 'generated' and 'auto'.")
    made = generate_many([task], generator=generator, finetune_steps=finetune_steps, lr=lr)[0]
    enough = len(made.episode.support) >= ENOUGH
    if not (fallback or (select == "auto" and enough)):
        return made
    made_by = generator if isinstance(generator, Generator) else load_generator(generator)
    if select == "auto" and enough:
        settings = FinetuneSettings(steps=finetune_steps, lr=step_size(lr, made_by.calibration))
        name, weights = choose(made_by, made.episode, made.weights, settings)
    elif made.confidence.low:
        name, weights = choose_simple(made_by, made.episode, made.weights)
        log.warning("%r falls back to: %s", made.episode.task, name)
    else:
        return made
    return replace(made, weights=weights, choice=name, finetune_steps=finetune_steps if name == "fine-tuned" else 0)


def generate_many(
    tasks: Sequence[Mapping[str, Any]],
    *,
    generator: str | Path | Generator | None = None,
    finetune_steps: int = 0,
    lr: float | None = None,
) -> list[Adapter]:
    """Adapters for many tasks in one pass: mappings with `description`, `examples`, `labels` as in generate."""
    made_by = generator if isinstance(generator, Generator) else load_generator(generator)
    episodes = [asked_episode(task, f"task {index}", made_by.backbone) for index, task in enumerate(tasks)]
    if not episodes:
        return []
    name = "" if isinstance(generator, Generator) else Path(generator).name if generator else "default"
    with made_by.text_encoder.together():
        weights = made_by.generate(episodes)
        adapters = [_adapter(weights[i], episode, made_by, name) for i, episode in enumerate(episodes)]
    if not finetune_steps:
        return adapters
    settings = FinetuneSettings(steps=finetune_steps, lr=step_size(lr, made_by.calibration))
    tuned = finetune(made_by.backbone, weights, episodes, settings)
    return [replace(a, weights=tuned[i], finetune_steps=finetune_steps) for i, a in enumerate(adapters)]


def _adapter(weights: AdapterWeights, episode: Episode, made_by: Generator, name: str) -> Adapter:
    """With a warning if the description is far from what the generator knows."""
    calibration, distance = made_by.calibration, nearest(made_by, episode)
    if distance is not None and calibration and calibration.far is not None and distance > calibration.far:
        log.warning("%r is far from every meta-train task: distance %.2f", episode.task, distance)
    return Adapter(
        weights, episode, made_by.backbone, name, calibration=calibration, distance=distance, made_by=made_by
    )


def export_many(
    adapters: Mapping[str, Adapter], path: str | Path, format: str = "peft", *, overwrite: bool = False
) -> Path:
    """Write several adapters in one call: a folder each, by its name, all of them or none."""
    for name in adapters:
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(f"{name!r} is no name for an adapter's folder: give one without slashes and leading dots.")
    with written_at_once(Path(path), about={"adapters": sorted(adapters)}, overwrite=overwrite) as folder:
        for name, adapter in adapters.items():
            adapter.export(folder / name, format)
    return Path(path)


def load_adapter(path: str | Path, backbone: Backbone[Any] | str | Path | None = None) -> Adapter:
    """The adapter in a folder or Hub repository that `Adapter.save` wrote.

    `backbone`: a Backbone, or the model folder from which to load it; default: the one that the adapter names.
    Raises ConfigError for a folder that is incomplete, damaged, or for another backbone.
    """
    from_folder = fetched(path)
    file = from_folder / "adapter.json"
    if not file.is_file():
        raise ConfigError(
            f"{from_folder} is no saved adapter: adapter.json is missing. Adapter.save and `hyperpeft generate` write "
            "one; what `export` writes is for other programs."
        )
    check_unchanged(from_folder, ("adapter.json", "adapter.safetensors"))
    about, episode = read_about(file)
    weights = load_weights(from_folder / "adapter.safetensors")
    used = backbone if isinstance(backbone, Backbone) else _named_backbone(about, weights, backbone)
    if weights.backbone.rsplit("#")[-1] != used.identity.rsplit("#")[-1]:
        raise ConfigError(f"{from_folder} is an adapter for backbone {weights.backbone}; loaded is {used.identity}.")
    weights = replace(weights, backbone=used.identity)
    kept = {key: about[key] for key in ("generator", "finetune_steps", "choice", "calibration", "schedule", "distance")}
    return Adapter(weights, episode, used, **kept)


def _named_backbone(about: Mapping[str, Any], weights: AdapterWeights, place: str | Path | None) -> Backbone[Any]:
    """The backbone in `place`, or where the adapter says. Raises ConfigError if it names a folder that is not here."""
    model = about["backbone"]["model"] if place is None else str(place)
    if place is None and about["backbone_from"] == "folder" and not Path(model).is_dir():
        raise ConfigError(
            f"the adapter is for the model {weights.backbone}, which was in a folder; here is none at {model!r}. "
            "Say where it is: load_adapter(..., backbone=FOLDER), on the command line --backbone FOLDER."
        )
    return load_backbone(json.dumps({**about["backbone"], "model": model}, sort_keys=True))
