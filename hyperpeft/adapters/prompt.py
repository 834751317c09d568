"""Prompt tuning: virtual tokens before the text. Lester et al. 2021, arXiv:2104.08691."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from einops import repeat
from torch import Tensor, nn

from hyperpeft.adapters.attention import Attention, Result, attend, gates, mixed, text_weight
from hyperpeft.adapters.base import AdapterKind, Call, Choice, Shapes, Target


@dataclass(frozen=True)
class Prompt(AdapterKind):
    """Learned vectors before the input embeddings; callers see neither them nor their outputs.

    The text attends to them through a gate in each attention module, zero at first: the backbone is unchanged then, and
    at 1 it is one softmax over all (see `attention.mixed`). The text keeps its positions; virtual token j has position
    j. `gated=False` is plain prompt tuning (PEFT's PROMPT_TUNING): the text's positions come after the virtual
    tokens' and the backbone is changed from the start.
    tokens * d parameters, and one a layer for the gates.
    """

    kind: ClassVar[str] = "prompt"
    effect: ClassVar[tuple[str, ...]] = ("gate",)

    tokens: int = 8
    gated: bool = True
    std: float = 0.02

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"adapter.tokens is {self.tokens}: it must be at least 1.")

    @property
    def target_layers(self) -> list[int] | None:
        """All."""
        return None

    def choices(self, model_type: str) -> tuple[Choice, ...]:
        """The transformer as a whole and, for the gates, its attention modules."""
        return (Choice("model"), Choice("attention")) if self.gated else (Choice("model"),)

    def shapes(self, target: Target) -> Shapes:
        """Prompt `[tokens, d]` for the model, gate `[1, 1]` for each attention module."""
        return {"prompt": (self.tokens, target.d_in)} if target.sort == "model" else {"gate": (1, 1)}

    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """The prompt normal, the gates closed."""
        if target.sort != "model":
            return {"gate": torch.zeros(1, 1)}
        return {"prompt": self.std * torch.randn(self.tokens, target.d_in, generator=generator)}

    def forward(self, call: Call, weights: Mapping[str, Tensor], *, train: bool) -> Any:
        """The model with virtual tokens, or an attention module with its gate."""
        if "gate" in weights:
            return attend(call, partial(_attention, self.tokens, weights["gate"]))
        arguments = _arguments(call)
        cache = arguments.get("past_key_values")
        if cache is not None and cache.get_seq_length() > 0:
            return call.own(**self._later(call.module, arguments, cache.get_seq_length()))
        output = call.own(**self._first(call.module, arguments, weights["prompt"]))
        return _without_virtual(call.module, output, self.tokens)

    def _first(self, module: nn.Module, arguments: dict[str, Any], prompt: Tensor) -> dict[str, Any]:
        """The arguments with virtual tokens before the text."""
        text = arguments.pop("inputs_embeds", None)
        ids = arguments.pop("input_ids", None)
        text = module.get_input_embeddings()(ids) if text is None else text  # type: ignore[operator]
        rows, length = text.shape[:2]
        mask = arguments.get("attention_mask")
        virtual = repeat(prompt.to(text.dtype), "task n d -> (task row) n d", row=rows // len(prompt))
        for name, filler in (("attention_mask", 1), ("token_type_ids", 0)):
            if name == "attention_mask" or arguments.get(name) is not None:
                arguments[name] = self._longer(arguments.get(name), filler, rows, length, text.device)
        positions = arguments.get("position_ids")
        if positions is None:
            positions = _first_position(module) + _counted(module, mask, rows, length, text.device)
        own = _first_position(module) + torch.arange(self.tokens, device=text.device).expand(rows, -1)
        later = positions if self.gated else positions + self.tokens
        arguments["position_ids"] = torch.cat([own, later.expand(rows, length)], dim=1)
        return {**arguments, "inputs_embeds": torch.cat([virtual, text], dim=1)}

    def _later(self, module: nn.Module, arguments: dict[str, Any], past: int) -> dict[str, Any]:
        """The arguments of a step of generation: the virtual tokens are in the cache already."""
        ids = arguments["input_ids"]
        rows, length = ids.shape
        _check_window(module, past + length)
        mask = arguments.get("attention_mask")
        arguments["attention_mask"] = self._longer(mask, 1, rows, past + length - self.tokens, ids.device)
        shift = 0 if self.gated else self.tokens
        positions = arguments.get("position_ids")
        if positions is None:
            positions = past - self.tokens + torch.arange(length, device=ids.device).expand(rows, length)
        return {**arguments, "position_ids": positions + shift}

    def _longer(self, tensor: Tensor | None, filler: int, rows: int, length: int, device: torch.device) -> Tensor:
        if tensor is None:
            return torch.full((rows, self.tokens + length), filler, device=device)
        if tensor.ndim != 2:
            raise ValueError(f"kind 'prompt' needs masks of rows and tokens; this one has the shape {[*tensor.shape]}.")
        return torch.cat([tensor.new_full((rows, self.tokens), filler), tensor], dim=1)


def _arguments(call: Call) -> dict[str, Any]:
    bound = inspect.signature(call.own).bind(*call.args, **call.kwargs).arguments
    return {**bound, **bound.pop("kwargs", {})}


def _check_window(module: nn.Module, tokens: int) -> None:
    """Raise ValueError if a sliding-window cache has dropped its first entries, the virtual tokens."""
    settings = vars(module.config)
    window = settings.get("sliding_window")
    slides = "sliding_attention" in (settings.get("layer_types") or ["sliding_attention"])
    if window is not None and slides and tokens > window:
        raise ValueError(
            f"kind 'prompt' cannot generate here: {tokens} tokens, virtual ones included, are more than the sliding "
            f"window of {window}, which drops the virtual tokens first. Use shorter texts, or kind 'prefix'."
        )


def _counted(module: nn.Module, mask: Tensor | None, rows: int, length: int, device: torch.device) -> Tensor:
    """Positions from 0 where none are given: OPT counts the visible tokens alone."""
    config: Any = module.config
    if config.model_type == "opt" and mask is not None:
        return (mask.cumsum(1) - 1).clamp(min=0)
    return torch.arange(length, device=device).expand(rows, length)


def _first_position(module: nn.Module) -> int:
    """The position of the first token where none are given: RoBERTa's begin after its padding index."""
    config: Any = module.config
    return config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0


def _without_virtual(module: nn.Module, output: Any, tokens: int) -> Any:
    """The output with the text's positions only; a pooler sees the text's first token."""
    output.last_hidden_state = output.last_hidden_state[:, tokens:]
    if output.get("hidden_states") is not None:
        output.hidden_states = tuple(hidden[:, tokens:] for hidden in output.hidden_states)
    if output.get("pooler_output") is not None:
        output.pooler_output = module.pooler(output.last_hidden_state)  # type: ignore[operator]
    return output


def _attention(
    tokens: int,
    gate: Tensor,
    original: Attention,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **settings: Any,
) -> Result:
    """Virtual tokens attend as ever; the text attends to the text, the virtual tokens mixed in by the gate."""
    virtual = tokens if query.shape[2] == key.shape[2] else 0
    mine = None if mask is None else mask[:, :, virtual:, tokens:]
    text = query[:, :, virtual:]
    plain, probabilities = original(module, text, key[:, :, tokens:], value[:, :, tokens:], mine, **settings)
    weight = text_weight(gates(gate, len(query)), module, text, key[:, :, tokens:], mine, **settings)
    made = mixed(plain, weight, text, key[:, :, :tokens], value[:, :, :tokens], settings)
    if not virtual:
        return made, probabilities
    theirs = None if mask is None else mask[:, :, :virtual]
    first, _ = original(module, query[:, :, :virtual], key, value, theirs, **settings)
    return torch.cat([first, made], dim=1), None
