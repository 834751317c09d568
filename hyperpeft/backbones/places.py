"""Places in a transformers model that adapters act on, found by type and by trying, in a fixed order."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hyperpeft.adapters import Sort, Target
from hyperpeft.adapters.attention import can_be_replaced, watched

NEEDS: Mapping[str, str] = {
    "linear": "it has no linear modules.",
    "attention": "its attention is not computed by transformers' attention interface.",
    "reading": "its attention to text is not computed by transformers' attention interface.",
    "layer": "it has no list of layers.",
    "model": "it does not take input embeddings and positions of a text.",
}
LAST_NORMS: Mapping[str, str] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "electra", "mpnet"), "output.LayerNorm"),
    **dict.fromkeys(("bart", "mbart"), "final_layer_norm"),
    "distilbert": "output_layer_norm",
}

BODY_TAKES = {"input_ids", "inputs_embeds", "position_ids"}
TEXT = [[1, 2]]


def linear_modules(model: PreTrainedModel) -> list[Target]:
    """Every linear-like module except the output embeddings."""
    output = model.get_output_embeddings()
    modules = ((path, module) for path, module in model.named_modules() if module is not output)
    sizes = ((path, _sizes(module)) for path, module in modules)
    return sorted(Target(path, *size, depth=_depth(path)) for path, size in sizes if size)


def layers(model: PreTrainedModel) -> list[Target]:
    """What ends each transformer layer: the layer itself, or its last normalisation where that ends it (BERT)."""
    lists = [path for path, module in model.named_modules() if _is_layer_list(path, module)]
    paths = [f"{path}.{index}" for path in lists for index in range(len(model.get_submodule(path)))]  # type: ignore[arg-type]
    last = LAST_NORMS.get(model.config.model_type)
    ends = [(f"{path}.{last}" if last else path, _width(model.get_submodule(path))) for path in paths]
    return sorted(Target(path, d, d, _depth(path), "layer") for path, d in ends)


def _width(layer: nn.Module) -> int:
    """What the layer passes on is as wide as what its first projection, that of the queries, reads."""
    return next(size[0] for size in map(_sizes, layer.modules()) if size)


def _is_layer_list(path: str, module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList) and len(module) > 0 and not any(part.isdigit() for part in path.split("."))


def attentions(model: PreTrainedModel) -> list[Target]:
    """Every module that attends through transformers' attention interface, with the size of all its keys together.

    Found by running the model on two tokens or on an image, of two towers that of images.
    """
    return _attending(model, lambda keys: True)


def reading_attentions(model: PreTrainedModel) -> list[Target]:
    """Those of them whose keys are the input text's: not a decoder's attention to its own answer."""
    return _attending(model, lambda keys: keys == len(TEXT[0])) if _reads_text(model) else []


def _attending(model: PreTrainedModel, wanted: Callable[[int], bool]) -> list[Target]:
    if not _reads_text(model) and not _sees(model):
        return []
    found: dict[str, int] = {}

    def note(path: str, key: Tensor, value: Tensor) -> None:
        if wanted(key.shape[2]):
            found[path] = key.shape[1] * key.shape[3]

    with watched({path: module for path, module in model.named_modules() if can_be_replaced(module)}, note):
        _read(model)
    return sorted(Target(path, size, size, _depth(path), "attention") for path, size in found.items())


@torch.no_grad()
def _read(model: PreTrainedModel) -> None:
    """One forward over two tokens, which a decoder answers with one, or over a black image."""
    if not _reads_text(model):
        tower: Any = getattr(model, "vision_model", model)
        config = getattr(model.config, "vision_config", model.config)
        size = config.image_size if isinstance(config.image_size, Sequence) else (config.image_size,) * 2
        tower(pixel_values=torch.zeros(1, config.num_channels, *size, dtype=model.dtype, device=model.device))
        return
    answer = {"decoder_input_ids": [[1]]} if model.config.is_encoder_decoder else {}
    inputs = {"input_ids": TEXT, **answer}
    model(**{name: torch.tensor(ids, device=model.device) for name, ids in inputs.items()})


def bodies(model: PreTrainedModel) -> list[Target]:
    """What reads the input text: the transformer without its head, if it takes input embeddings and positions.

    Of an encoder with a decoder it is the encoder, positions or not. Else found by running the model on two tokens: the
    innermost module called that can take them (OPT passes its model by and calls its decoder).
    """
    if not _reads_text(model):
        return []
    if model.config.is_encoder_decoder:
        encoder: Any = model.get_encoder()
        return [_body(model, next(path for path, module in model.named_modules() if module is encoder))]
    called: list[str] = []
    with ExitStack() as stack:
        for path, module in model.named_modules():
            if (
                isinstance(module, PreTrainedModel)
                and inspect.signature(module.forward).parameters.keys() >= BODY_TAKES
            ):
                handle = module.register_forward_pre_hook(_noting(called, path))
                stack.callback(handle.remove)
        _read(model)
    return [_body(model, called[-1])] if called else []


def _body(model: PreTrainedModel, path: str) -> Target:
    body: Any = model.get_submodule(path)
    d = body.get_input_embeddings().weight.shape[1]
    return Target(path, d, d, 0, "model")


def _noting(called: list[str], path: str) -> Callable[..., None]:
    return lambda module, args: called.append(path)


def _reads_text(model: PreTrainedModel) -> bool:
    takes = inspect.signature(model.forward).parameters
    return "input_ids" in takes and "pixel_values" not in takes


def _sees(model: PreTrainedModel) -> bool:
    """Whether it is a model of images, or has a tower for them beside one for text (CLIP)."""
    takes = inspect.signature(model.forward).parameters
    return "pixel_values" in takes and ("input_ids" not in takes or hasattr(model, "vision_model"))


def _sizes(module: nn.Module) -> tuple[int, int] | None:
    """(d_in, d_out) of a linear-like module: nn.Linear and its quantised subclasses, GPT-2's transposed Conv1D."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return module.nx, module.nf
    return None


def _depth(path: str) -> int:
    return next((int(part) for part in path.split(".") if part.isdigit()), 0)


PLACES: Mapping[Sort, Callable[[PreTrainedModel], list[Target]]] = MappingProxyType(
    {
        "linear": linear_modules,
        "attention": attentions,
        "reading": reading_attentions,
        "layer": layers,
        "model": bodies,
    }
)
