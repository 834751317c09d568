"""A generator: task encoder, hypernetwork and the frozen backbone that they were trained for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from hyperpeft.adapters import ADAPTERS
from hyperpeft.backbones import BACKBONES, Backbone
from hyperpeft.calibration import Calibration
from hyperpeft.config import ConfigError, build, read_yaml
from hyperpeft.encoders import ENCODERS, TaskEncoder, TextEncoder
from hyperpeft.hub import fetched, pushed
from hyperpeft.hypernetwork import Hypernetwork
from hyperpeft.label_reader import LabelReader
from hyperpeft.refinement import Refinement
from hyperpeft.tasks import Episode
from hyperpeft.trained_tasks import TrainedTasks
from hyperpeft.weights import AdapterWeights, save_tensors

CONFIG, WEIGHTS, CARD, TASKS = "config.yaml", "model.safetensors", "README.md", "meta_train_tasks.safetensors"
REQUIRED = ("backbone", "adapter", "text_encoder", "encoder", "hypernetwork")
MOST_NAMES = 300
SECTIONS = (*REQUIRED, "label_reader", "refinement")


class Generator(nn.Module):
    """Makes adapter weights for tasks from their descriptions and examples.

    The frozen backbone and the frozen text encoder are plain attributes: no checkpoint, optimizer or DDP wrapper
    holds them. Saved with the generator: `about`, free provenance (version, training settings, results);
    `calibration`, how sure its answers may be; `trained_tasks`, where its meta-train tasks lie. The last two are None
    until `hyperpeft.calibrating` makes them.
    """

    def __init__(
        self,
        backbone: Backbone[Any],
        encoder: TaskEncoder,
        hypernetwork: Hypernetwork,
        text: TextEncoder,
        *,
        label_reader: LabelReader | None = None,
        refinement: Refinement | None = None,
    ):
        super().__init__()
        self.backbone = backbone
        self.text_encoder = text
        self.encoder = encoder
        self.hypernetwork = hypernetwork
        self.label_reader = label_reader
        self.refinement = refinement
        self.about: dict[str, Any] = {}
        self.calibration: Calibration | None = None
        self.trained_tasks: TrainedTasks | None = None

    @classmethod
    def build(cls, settings: Mapping[str, Mapping[str, Any]], backbone: Backbone[Any] | None = None) -> "Generator":
        """A new generator from its settings sections; an existing backbone of equal settings may be passed.

        `label_reader` and `refinement` may be missing or None: the generator then has none.
        """
        backbone = backbone or build(BACKBONES, settings["backbone"], name="backbone")
        adapter = build(ADAPTERS, settings["adapter"], name="adapter")
        text = build({"text": TextEncoder}, {"kind": "text", **settings["text_encoder"]}, name="text_encoder")
        hypernetwork = {"kind": "hypernetwork", **settings["hypernetwork"]}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(hypernetwork.get("seed", 0))
            encoder = build(ENCODERS, settings["encoder"], name="encoder", text_encoder=text)
            made = build(
                {"hypernetwork": Hypernetwork},
                hypernetwork,
                name="hypernetwork",
                adapter=adapter,
                targets=backbone.targets(adapter),
                backbone=backbone.identity,
                readout=backbone.readout_defaults(),
                d_task=encoder.d_task,
            )
            reader = _label_reader(settings.get("label_reader"), backbone, text)
        encoder.requires_grad_(made.head != "none")
        return cls(backbone, encoder, made, text, label_reader=reader, refinement=_refinement(settings, made))

    def forward(self, episodes: Sequence[Episode]) -> AdapterWeights:
        """Adapter weights, one task an episode, inside the graph: for meta-training. Never sees the query."""
        if self.hypernetwork.head == "none":
            weights = self.hypernetwork.shared_weights(len(episodes))
        else:
            weights = self.hypernetwork(self.encoder(episodes))
        if self.label_reader is not None:
            weights = replace(weights, readout={**weights.readout, **self.label_reader(episodes)})
        if self.refinement is None:
            return weights
        refined: AdapterWeights = self.refinement(self.backbone, weights, episodes, self.hypernetwork.shared_weights(1))
        return refined

    @torch.no_grad()
    def generate(self, episodes: Sequence[Episode]) -> AdapterWeights:
        """Adapter weights, one task an episode, as plain values in eval mode."""
        was_training = self.training
        self.eval()
        try:
            return self(episodes).detach()
        finally:
            self.train(was_training)

    @torch.no_grad()
    def shared(self, tasks: int) -> AdapterWeights:
        """The part that all tasks share, for each of so many tasks."""
        return self.hypernetwork.shared_weights(tasks).detach()

    def settings(self) -> dict[str, Any]:
        """The sections that build an equal generator (without learned parameters)."""
        return {
            "backbone": self.backbone.settings(),
            "adapter": self.hypernetwork.adapter.settings(),
            "text_encoder": self.text_encoder.settings(),
            "encoder": self.encoder.settings(),
            "hypernetwork": self.hypernetwork.settings(),
            "label_reader": None if self.label_reader is None else self.label_reader.settings(),
            "refinement": None if self.refinement is None else self.refinement.settings(),
        }

    def save_pretrained(self, folder: str | Path, *, portable: bool = False) -> Path:
        """Write `config.yaml`, `model.safetensors` (encoder and hypernetwork) and a model card into the folder.

        Also `meta_train_tasks.safetensors`, where the generator holds those. `portable`: of absolute paths only the
        last part is written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {**self.settings(), "backbone_identity": self.backbone.identity, "about": self.about}
        if self.calibration is not None:
            config["calibration"] = self.calibration.settings()
        if portable:
            config = _without_paths(config)
        with TemporaryDirectory(dir=folder) as unfinished:
            OmegaConf.save(OmegaConf.create(config), Path(unfinished) / CONFIG)
            save_tensors(self.state_dict(), Path(unfinished) / WEIGHTS, {"format": "pt"})
            (Path(unfinished) / CARD).write_text(_card(config), encoding="utf-8")
            if self.trained_tasks is not None:
                self.trained_tasks.save(Path(unfinished) / TASKS)
            for file in sorted(Path(unfinished).iterdir()):
                file.replace(folder / file.name)
        if self.trained_tasks is None:
            (folder / TASKS).unlink(missing_ok=True)
        return folder

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, backbone: Backbone[Any] | str | None = None, text_encoder: str | None = None
    ) -> "Generator":
        """Read a generator from a folder or a repository on the Hub.

        `backbone`: one that is loaded, or where its model is on this machine; `text_encoder`: where that one's is.
        Raises ConfigError if files are missing or damaged, or the backbone is another.
        """
        folder = fetched(folder)
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise ConfigError(
                    f"{folder} is no generator folder: {name} is missing. Train one: scripts/train_hyper.py"
                )
        config: Any = OmegaConf.to_container(read_yaml(folder / CONFIG), resolve=True)
        missing = [section for section in (*REQUIRED, "backbone_identity", "about") if section not in config]
        if missing:
            raise ConfigError(f"{folder / CONFIG} lacks the section(s) {missing}: it is no generator's config.")
        if isinstance(backbone, str):
            config["backbone"]["model"], backbone = backbone, None
        if text_encoder is not None:
            config["text_encoder"]["model"] = text_encoder
        generator = cls.build({section: config.get(section) for section in SECTIONS}, backbone)
        generator._check_backbone(config["backbone_identity"], folder)
        try:
            generator.load_state_dict(load_file(folder / WEIGHTS))
        except (SafetensorError, RuntimeError) as error:
            raise ConfigError(f"{folder / WEIGHTS} does not fit {CONFIG}: {error}") from error
        generator.about = config["about"]
        generator.calibration = Calibration.read(config.get("calibration"))
        generator.trained_tasks = TrainedTasks.load(folder / TASKS)
        return generator.eval()

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Write the generator to a repository on the Hub; the address of the commit.

        No path of this machine goes there: where backbone or text encoder are folders here, `from_pretrained` is told
        by its user where they are.
        """
        return pushed(partial(self.save_pretrained, portable=True), repo_id, private=private, token=token)

    def _check_backbone(self, expected: str, folder: Path) -> None:
        found = self.backbone.identity
        if found.rsplit("#")[-1] != expected.rsplit("#")[-1]:
            raise ConfigError(
                f"the generator in {folder} was trained for backbone {expected}, but {found} was loaded: "
                "its adapters would mean nothing there. Load the same weights, or train a generator for these."
            )


def _without_paths(value: Any) -> Any:
    """The same containers, each absolute path cut to its last part."""
    if isinstance(value, Mapping):
        return {key: _without_paths(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(one) for one in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _label_reader(settings: Mapping[str, Any] | None, backbone: Backbone[Any], text: TextEncoder) -> LabelReader | None:
    """A label reader if there is a section for it. Raises ConfigError where its vectors would mean nothing."""
    if settings is None:
        return None
    if text.encoder.identity.rsplit("#")[-1] != backbone.identity.rsplit("#")[-1]:
        raise ConfigError(
            f"label_reader: what it reads with text_encoder.model={text.model!r} are no features of the backbone "
            f"{backbone.name!r}. Set label_reader=null, or take the backbone's model as text encoder."
        )
    section = {"kind": "label_reader", **settings}
    return build({"label_reader": LabelReader}, section, name="label_reader", text_encoder=text)  # type: ignore[no-any-return]


def _refinement(settings: Mapping[str, Any], hypernetwork: Hypernetwork) -> Refinement | None:
    given = settings.get("refinement")
    if given is None:
        return None
    section = {"kind": "refinement", **given}
    weights = hypernetwork.shared_weights(1)
    return build({"refinement": Refinement}, section, name="refinement", weights=weights)  # type: ignore[no-any-return]


def _card(config: Mapping[str, Any]) -> str:
    """A model card: what this is, what it was trained on and how well it did, from the config's own facts."""
    facts = dict(config["about"])
    names = facts.get("meta_train_tasks", [])
    if len(names) > MOST_NAMES:
        facts["meta_train_tasks"] = [*names[:MOST_NAMES], f"and {len(names) - MOST_NAMES} more, in {CONFIG}"]
    about = OmegaConf.to_yaml(OmegaConf.create(facts)) or "nothing recorded\n"
    return (
        "---\nlibrary_name: hyperpeft\ntags: [hyperpeft, hypernetwork, peft]\n---\n"
        f"# Adapter generator for `{config['backbone']['model']}`\n\n"
        f"Generates `{config['adapter']['kind']}` adapters from a task description and/or examples.\n\n"
        "```python\nimport hyperpeft\n\n"
        'adapter = hyperpeft.generate("...", examples=[...], generator="this folder")\n```\n\n'
        f"Backbone: `{config['backbone_identity']}`.\n\n## Training\n\n```yaml\n{about}```\n"
    )
