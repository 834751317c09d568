"""One vector a text from the states of its tokens, as the model's own files say."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional
from transformers.utils import cached_file

from hyperpeft.config import ConfigError, did_you_mean


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return reduce(hidden * mask, "row token d -> row d", "sum") / reduce(mask, "row token 1 -> row 1", "sum")


def _mean_by_root(hidden: Tensor, mask: Tensor) -> Tensor:
    return reduce(hidden * mask, "row token d -> row d", "sum") / reduce(mask, "row token 1 -> row 1", "sum").sqrt()


def _weighted_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Later tokens count more: weight 1, 2, 3, ..."""
    return _mean(hidden, mask * mask.cumsum(1))


def _first(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden), device=hidden.device), mask[..., 0].argmax(1)]


def _last(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden), device=hidden.device), (mask * mask.cumsum(1))[..., 0].argmax(1)]


def _max(hidden: Tensor, mask: Tensor) -> Tensor:
    return reduce(hidden.masked_fill(mask == 0, -torch.inf), "row token d -> row d", "max")


# names as in the pooling files of sentence-transformers
MODES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "mean": _mean,
        "cls": _first,
        "max": _max,
        "lasttoken": _last,
        "mean_sqrt_len_tokens": _mean_by_root,
        "weightedmean": _weighted_mean,
    }
)
OLD_NAMES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
IDLE = ("Transformer", "Pooling", "Normalize", "Dropout")


@dataclass(frozen=True)
class Pooling:
    """Token states `[row token d]` and mask `[row token]` to features `[row d]` in fp32, of unit length if `unit`.

    mode: a name in MODES. Raises ConfigError for another.
    """

    mode: str = "mean"
    unit: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"pooling {self.mode!r} does not exist. {did_you_mean(self.mode, [*MODES, 'auto'])}")

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """`[row d]`."""
        pooled = MODES[self.mode](hidden.float(), rearrange(mask.float(), "row token -> row token 1"))
        return functional.normalize(pooled, dim=-1) if self.unit else pooled


def read_pooling(place: str) -> Pooling:
    """What a sentence-transformers folder (or hub id) says in modules.json and its pooling file; else the unit mean.

    Raises ConfigError for a folder with a module that would change the features and is not computed here (Dense, ...)
    and for several poolings joined together.
    """
    modules = _json(place, "modules.json")
    if modules is None:
        return Pooling(_mode(_json(place, "1_Pooling/config.json") or {}, place))
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    strange = sorted(set(kinds) - set(IDLE))
    if strange:
        raise ConfigError(
            f"the sentence-transformers model {place} ends in {', '.join(strange)}, which is not supported: its "
            f"features would not be the model's own. Supported are {', '.join(IDLE)}. Take another model, or a "
            "setting backbone.pooling=mean to leave those modules out."
        )
    folders = [module["path"] for module, kind in zip(modules, kinds, strict=True) if kind == "Pooling"]
    settings = (_json(place, f"{folders[0]}/config.json") or {}) if folders else {}
    return Pooling(_mode(settings, place), unit="Normalize" in kinds)


def _mode(settings: Mapping[str, Any], place: str) -> str:
    given = settings.get("pooling_mode") or [name for key, name in OLD_NAMES.items() if settings.get(key)]
    modes = [given] if isinstance(given, str) else list(given)
    if len(modes) > 1:
        raise ConfigError(
            f"the sentence-transformers model {place} joins the poolings {modes}, which is not supported: choose one "
            f"with backbone.pooling, of {', '.join(MODES)}."
        )
    return modes[0] if modes else "mean"


def _json(place: str, name: str) -> Any:
    file = cached_file(
        place, name, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False
    )
    return json.loads(Path(file).read_text(encoding="utf-8")) if file else None
