"""Prompt tuning: virtual tokens before the text. Lester et al. 2021, arXiv:2104.08691."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from hyperpeft.adapters.attention import Attention, Result, as_mask, attend, gated, watched
from hyperpeft.adapters.base import AdapterKind, Call, Choice, Placed, Shapes, Target
from hyperpeft.adapters.lengthened import (
    bound,
    check_padded_right,
    check_unpacked,
    check_window,
    counted,
    embedded,
    first_position,
    kept_positions,
    window,
    without_virtual,
)
from hyperpeft.adapters.prefix import Prefix


@dataclass(frozen=True)
class Prompt(AdapterKind):
    """Learned vectors as virtual tokens that the text attends to; callers see neither them nor their outputs.

    The frozen backbone reads the virtual tokens alone, once a task, at positions from 0; the text attends to their keys
    and values apart, through a gate in each attention module, zero at first (`attention.gated`): the backbone starts
    unchanged, and rows of text are as long as ever. It computes as the `prefix` that `unfold` makes of it.
    `gated=False` is plain prompt tuning (PEFT's PROMPT_TUNING): virtual tokens before the text, whose positions come
    after theirs; the backbone is changed from the start.
    An encoder with a decoder reads them before its text in either form, and the decoder attends to them there too (as
    in Lester et al.), through gates of its own.
    tokens * d parameters, and one for each gate.
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
        """The transformer as a whole and, for the gates, its modules that attend to the text."""
        return (Choice("model"), Choice("reading")) if self.gated else (Choice("model"),)

    def companions(self, model: Any) -> list[str]:
        """A decoder that attends to an encoder's text: its mask of that text must become longer too."""
        if not model.config.is_encoder_decoder:
            return []
        decoder = model.get_decoder()
        return [path for path, module in model.named_modules() if module is decoder]

    def shapes(self, target: Target) -> Shapes:
        """Prompt `[tokens, d]` for the model, gate `[1, 1]` for each attention module."""
        return {"prompt": (self.tokens, target.d_in)} if target.sort == "model" else {"gate": (1, 1)}

    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """The prompt normal, the gates closed."""
        if target.sort != "model":
            return {"gate": torch.zeros(1, 1)}
        return {"prompt": self.std * torch.randn(self.tokens, target.d_in, generator=generator)}

    def unfold(self, model: Any, tensors: Placed) -> tuple[AdapterKind, Placed]:
        """A gated prompt as the gated prefix that the model makes of it by itself, with a gradient to the prompt."""
        if not self.gated or model.config.is_encoder_decoder:
            return self, tensors
        gates = {path: named["gate"] for path, named in tensors.items() if "gate" in named}
        ((path, named),) = ((path, named) for path, named in tensors.items() if "prompt" in named)
        made = self._read(
            model.get_submodule(path), {path: model.get_submodule(path) for path in gates}, named["prompt"]
        )
        return Prefix(self.tokens), {path: {**made[path], "gate": gate} for path, gate in gates.items()}

    def _read(self, module: Any, attending: Mapping[str, Any], prompt: Tensor) -> dict[str, dict[str, Tensor]]:
        """Keys and values of the virtual tokens alone in each attention module, `[task n (kv d)]`."""
        made: dict[str, dict[str, Tensor]] = {}

        def note(path: str, key: Tensor, value: Tensor) -> None:
            parts = {"K": key, "V": value}
            made[path] = {name: rearrange(part, "task k n d -> task n (k d)") for name, part in parts.items()}

        tasks, device = len(prompt), prompt.device
        positions = first_position(module) + torch.arange(self.tokens, device=device)
        with watched(attending, note):
            module(
                inputs_embeds=prompt.to(module.get_input_embeddings().weight.dtype),
                attention_mask=torch.ones(tasks, self.tokens, device=device),
                position_ids=positions.expand(tasks, -1),
                **{"use_cache": False} if "use_cache" in inspect.signature(module.forward).parameters else {},
            )
        return made

    def forward(self, call: Call, weights: Mapping[str, Tensor], *, train: bool) -> Any:
        """The model with virtual tokens, or an attention module with its gate."""
        if "gate" in weights:
            return attend(call, partial(_attention, self.tokens, weights["gate"]))
        arguments = bound(call)
        if not weights:
            return call.own(**self._answering(arguments))
        if call.module.config.is_encoder_decoder:
            return self._encoding(call, arguments, weights["prompt"])
        cache = arguments.get("past_key_values")
        if cache is not None and cache.get_seq_length() > 0:
            return call.own(**self._later(call.module, arguments, cache.get_seq_length()))
        output = call.own(**self._first(call.module, arguments, weights["prompt"]))
        return without_virtual(call.module, output, self.tokens)

    def _answering(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a decoder whose encoder has read the virtual tokens."""
        mask = arguments.get("encoder_attention_mask")
        return arguments if mask is None else {**arguments, "encoder_attention_mask": self._longer(mask, 1)}

    def _encoding(self, call: Call, arguments: dict[str, Any], prompt: Tensor) -> Any:
        """The encoder of two, virtual tokens and all: its decoder sees them."""
        text, virtual = embedded(call.module, arguments, prompt)
        mask = arguments.get("attention_mask")
        if mask is not None:
            mask = self._longer(mask, 1)
            check_padded_right(mask[:, self.tokens :])
        with kept_positions(call.module, self.tokens, text.shape[1], kept=self.gated):
            inputs = torch.cat([virtual, text], dim=1)
            return call.own(**{**arguments, "attention_mask": mask, "inputs_embeds": inputs})

    def _first(self, module: nn.Module, arguments: dict[str, Any], prompt: Tensor) -> dict[str, Any]:
        """The arguments with virtual tokens before the text."""
        text, virtual = embedded(module, arguments, prompt)
        rows, length = text.shape[:2]
        mask, positions = arguments.get("attention_mask"), arguments.get("position_ids")
        if mask is None:
            check_unpacked(positions)
            arguments["attention_mask"] = torch.ones(rows, self.tokens + length, device=text.device)
        else:
            if mask.ndim == 2 and self.tokens + length > window(module):
                check_padded_right(mask)
            arguments["attention_mask"] = self._longer(mask, 1) if mask.ndim == 2 else self._longer_blocks(mask)
        if arguments.get("token_type_ids") is not None:
            arguments["token_type_ids"] = self._longer(arguments["token_type_ids"], 0)
        if positions is None:
            positions = first_position(module) + counted(module, mask, rows, length, text.device)
        own = first_position(module) + torch.arange(self.tokens, device=text.device).expand(rows, -1)
        arguments["position_ids"] = torch.cat([own, (positions + self.tokens).expand(rows, length)], dim=1)
        return {**arguments, "inputs_embeds": torch.cat([virtual, text], dim=1)}

    def _later(self, module: nn.Module, arguments: dict[str, Any], past: int) -> dict[str, Any]:
        """The arguments of a step of generation: the virtual tokens are in the cache already."""
        ids = arguments["input_ids"]
        rows, length = ids.shape
        check_window(module, past + length)
        mask = arguments.get("attention_mask")
        if mask is None:
            mask = torch.ones(rows, past + length - self.tokens, device=ids.device)
        arguments["attention_mask"] = self._longer(mask, 1)
        positions = arguments.get("position_ids")
        if positions is None:
            positions = past - self.tokens + torch.arange(length, device=ids.device).expand(rows, length)
        return {**arguments, "position_ids": positions + self.tokens}

    def _longer(self, tensor: Tensor, filler: int) -> Tensor:
        """Of each row and token, `[row token]`, with virtual tokens before."""
        if tensor.ndim != 2:
            raise ValueError(
                "kind 'prompt' needs masks of rows and tokens, or causal ones of a model without an encoder; this one "
                f"has the shape {[*tensor.shape]}."
            )
        return torch.cat([tensor.new_full((len(tensor), self.tokens), filler), tensor], dim=1)

    def _longer_blocks(self, mask: Tensor) -> Tensor:
        """A causal mask `[row 1 token token]` of packed texts: each sees the virtual tokens, which see no text.

        Raises ValueError for one that is not causal: the virtual tokens would see, and so mix, all texts of a row.
        """
        is_bool = mask.dtype == torch.bool
        seen = mask if is_bool else mask > torch.finfo(mask.dtype).min / 2
        if mask.ndim != 4 or bool(seen.triu(1).any()):
            raise ValueError(
                "kind 'prompt' needs masks of rows and tokens, or causal ones of rows, queries and keys; this one has "
                f"the shape {[*mask.shape]} and lets tokens see later ones."
            )
        virtual = torch.ones(self.tokens, self.tokens, dtype=torch.bool, device=mask.device).tril()
        before = torch.cat([virtual, virtual.new_ones(mask.shape[2], self.tokens)]).expand(len(mask), 1, -1, -1)
        later = torch.cat([seen.new_zeros(len(mask), 1, self.tokens, mask.shape[3]), seen], dim=2)
        whole = torch.cat([before, later], dim=3)
        return whole if is_bool else mask.new_zeros(whole.shape).masked_fill(~whole, torch.finfo(mask.dtype).min)


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
    """Virtual tokens attend as ever; the text attends to the text, and to the virtual tokens through the gate."""
    virtual = 0 if _answers(module) else tokens
    mask = as_mask(module, mask, query, key, settings).expand(-1, -1, query.shape[2], -1).clone()
    mask[:, :, virtual:, :tokens] = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
    plain, probabilities = original(module, query, key, value, mask, **settings)
    bias = settings.pop("position_bias", None)
    of_virtual = None if bias is None else bias[:, :, virtual:, :tokens]
    made = gated(gate, query[:, :, virtual:], key[:, :, :tokens], value[:, :, :tokens], settings, of_virtual)
    return plain + functional.pad(made, (0, 0, 0, 0, virtual, 0)), probabilities


def _answers(module: Any) -> bool:
    """Whether the module is a decoder's, attending to what an encoder has read."""
    return bool(module.config.is_encoder_decoder and module.is_decoder)
