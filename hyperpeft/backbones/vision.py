"""Vision encoders as backbones: few-shot image classification; inputs are paths of image files."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import torch
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from hyperpeft.backbones.pooling import Pooling
from hyperpeft.backbones.pretrained import fast_dtype, load_pretrained, load_reader
from hyperpeft.backbones.prototypes import Groups, Prototypes
from hyperpeft.backbones.tokens import Tokens, level
from hyperpeft.config import ConfigError
from hyperpeft.tasks import TaskError

TWO_TOWERS = ("clip",)
CLASS_TOKEN = ("vit", "deit", "dinov2", "dinov2_with_registers")
POOLINGS = ("auto", "cls", "mean", "pooler")
KEPT_IMAGES = 1024


@dataclass(frozen=True)
class Images:
    """Images of several tasks and the features of their label texts.

    pixels: `[task image channel height width]`. texts: `[task text d]`. place: `[task row]`, where a row's features
    stand after joining texts and images.
    """

    pixels: Tensor
    texts: Tensor
    place: Tensor

    def to(self, device: torch.device) -> "Images":
        """On another device."""
        return Images(self.pixels.to(device), self.texts.to(device), self.place.to(device))


class Vision(Prototypes):
    """A frozen ViT, DINOv2 or CLIP that classifies images by cosine to prototypes (see `Prototypes`).

    Example inputs are paths of files that PIL reads. With a text tower (CLIP) label texts count too: they are put into
    `template`; their features are frozen, since adapters act on the vision tower only. `pooling`: `cls`, `mean` or
    `pooler` (the model's own); `auto` takes the class token of ViT and DINOv2, else the pooler. CLIP has its own.
    `tokenizer` holds the image processor.
    """

    def __init__(
        self,
        model: str,
        dtype: str = "auto",
        pooling: str = "auto",
        template: str = "a photo of a {label}.",
        trust_remote_code: bool = False,
        gradient_checkpointing: bool = False,
    ):
        if "{label}" not in template:
            raise ConfigError(f"backbone.template is {template!r}: it must contain {{label}}.")
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling {pooling!r} does not exist; there is {', '.join(POOLINGS)}.")
        loaded, processor = load_pretrained(
            AutoModel, model, dtype=fast_dtype(dtype), reader=AutoImageProcessor, trust_remote_code=trust_remote_code
        )
        super().__init__(loaded, processor, model, gradient_checkpointing)
        self._settings = {
            "model": model,
            "dtype": dtype,
            "pooling": pooling,
            "template": template,
            "trust_remote_code": trust_remote_code,
            "gradient_checkpointing": gradient_checkpointing,
        }
        self.template = template
        self._read = lru_cache(maxsize=KEPT_IMAGES)(self._pixels)
        self._texts: dict[str, Tensor] = {}
        self._set_towers(pooling, trust_remote_code)

    def _set_towers(self, pooling: str, trust_remote_code: bool) -> None:
        config = self.model.config
        self.reads_labels = config.model_type in TWO_TOWERS
        if self.reads_labels:
            if pooling != "auto":
                raise ConfigError(
                    f"pooling={pooling} would not match the label texts of {config.model_type}: use auto."
                )
            tokenizer = load_reader(AutoTokenizer, self.name, trust_remote_code=trust_remote_code)
            self.tokens = Tokens(tokenizer, config.text_config.max_position_embeddings)
            self.unused = ("text_model", "text_projection")
        auto = "cls" if config.model_type in CLASS_TOKEN else "pooler"
        self.pooling = auto if pooling == "auto" else pooling
        if self.pooling != "pooler":
            self.unused = ("pooler",)

    def settings(self) -> dict[str, Any]:
        """What builds an equal backbone."""
        return {"kind": "vision", **self._settings}

    def inputs(self, labels: Groups, examples: Groups, width: int) -> Images:
        """Pixels of each task's images, blank ones added, and the frozen features of its label texts."""
        images, texts = level(examples), level(labels)
        place = [
            [*range(len(own)), *range(texts, texts + len(paths)), *[0] * (width - len(own) - len(paths))]
            for own, paths in zip(labels, examples, strict=True)
        ]
        read = [[self._read(path) for path in paths] for paths in examples]
        blank = torch.zeros_like(next(chain.from_iterable(read), torch.zeros(0)))
        pixels = torch.stack([blank.new_zeros(0, *blank.shape)] * len(read))
        if images:
            pixels = torch.stack([torch.stack([*group, *[blank] * (images - len(group))]) for group in read])
        return Images(pixels, self._label_features(labels, texts), torch.tensor(place))

    def row_features(self, inputs: Images) -> Tensor:
        """`[task row d]`."""
        tasks, images = inputs.pixels.shape[:2]
        features = inputs.texts
        if images:
            seen = self.features(rearrange(inputs.pixels, "task image c h w -> (task image) c h w"))
            features = torch.cat([features, rearrange(seen, "(task image) d -> task image d", task=tasks)], dim=1)
        return features.gather(1, repeat(inputs.place, "task row -> task row d", d=features.shape[-1]))

    def features(self, pixels: Tensor) -> Tensor:
        """Unit features of images, `[image d]` in fp32, under the installed weights."""
        pixels = pixels.to(self.model.dtype)
        if self.reads_labels:
            pooled = self.model.vision_model(pixel_values=pixels).pooler_output
            return functional.normalize(self.model.visual_projection(pooled).float(), dim=-1)
        output = self.model(pixel_values=pixels)
        if self.pooling == "pooler":
            return functional.normalize(output.pooler_output.float(), dim=-1)
        hidden = output.last_hidden_state
        return Pooling(self.pooling)(hidden, torch.ones(hidden.shape[:2], device=hidden.device))

    def _pixels(self, path: str) -> Tensor:
        """`[channel height width]` as the model's own processor makes it. Raises TaskError for what PIL cannot read."""
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except OSError as error:
            raise TaskError(
                f"the image {path!r} cannot be read: {error}. The inputs of a vision backbone are paths of image files."
            ) from error
        pixels: Tensor = self.tokenizer(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def _label_features(self, labels: Groups, width: int) -> Tensor:
        """`[task text d]`, zeros added up to `width`; without a text tower no texts."""
        if not width:
            return torch.zeros(len(labels), 0, self._d_features())
        new = sorted({text for own in labels for text in own} - self._texts.keys())
        self._texts.update({text: self._text_feature(text) for text in new})
        blank = torch.zeros(self._d_features())
        return torch.stack(
            [torch.stack([*map(self._texts.__getitem__, own), *[blank] * (width - len(own))]) for own in labels]
        )

    def _d_features(self) -> int:
        config = self.model.config
        return int(config.projection_dim if self.reads_labels else config.hidden_size)

    @torch.no_grad()
    def _text_feature(self, text: str) -> Tensor:
        ids = torch.tensor(self.tokens([self.template.replace("{label}", text)]), device=self.device)
        pooled = self.model.text_model(input_ids=ids, attention_mask=torch.ones_like(ids)).pooler_output
        return functional.normalize(self.model.text_projection(pooled)[0].float(), dim=-1).cpu()
