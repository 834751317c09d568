"""Prompt tuning: virtual tokens before the text. Lester et al. 2021, arXiv:2104.08691."""

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from hyperpeft.adapters.attention import Attention, Result, as_mask, attend, gated, replaced
from hyperpeft.adapters.base import AdapterKind, Call, Choice, Placed, Shapes, Target
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

        def noted(path: str, original: Attention, *args: Any, **settings: Any) -> Result:
            made[path] = {name: rearrange(args[i], "task k n d -> task n (k d)") for name, i in (("K", 2), ("V", 3))}
            return original(*args, **settings)

        tasks, device = len(prompt), prompt.device
        positions = _first_position(module) + torch.arange(self.tokens, device=device)
        with ExitStack() as stack:
            for path, child in attending.items():
                make = partial(partial, noted, path)  # given the original, the function that is called for it
                stack.enter_context(replaced(child, inspect.unwrap(type(child).forward), make))
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
        arguments = _arguments(call)
        if not weights:
            return call.own(**self._answering(arguments))
        if call.module.config.is_encoder_decoder:
            return self._encoding(call, arguments, weights["prompt"])
        cache = arguments.get("past_key_values")
        if cache is not None and cache.get_seq_length() > 0:
            return call.own(**self._later(call.module, arguments, cache.get_seq_length()))
        output = call.own(**self._first(call.module, arguments, weights["prompt"]))
        return _without_virtual(call.module, output, self.tokens)

    def _answering(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a decoder whose encoder has read the virtual tokens."""
        mask = arguments.get("encoder_attention_mask")
        return arguments if mask is None else {**arguments, "encoder_attention_mask": self._longer(mask, 1)}

    def _encoding(self, call: Call, arguments: dict[str, Any], prompt: Tensor) -> Any:
        """The encoder of two, virtual tokens and all: its decoder sees them."""
        text, virtual = _embedded(call.module, arguments, prompt)
        mask = arguments.get("attention_mask")
        if mask is not None:
            mask = self._longer(mask, 1)
            _check_padded_right(mask[:, self.tokens :])
        with _kept_positions(call.module, self.tokens, text.shape[1], kept=self.gated):
            inputs = torch.cat([virtual, text], dim=1)
            return call.own(**{**arguments, "attention_mask": mask, "inputs_embeds": inputs})

    def _first(self, module: nn.Module, arguments: dict[str, Any], prompt: Tensor) -> dict[str, Any]:
        """The arguments with virtual tokens before the text."""
        text, virtual = _embedded(module, arguments, prompt)
        rows, length = text.shape[:2]
        mask, positions = arguments.get("attention_mask"), arguments.get("position_ids")
        if mask is None:
            _check_unpacked(positions)
            arguments["attention_mask"] = torch.ones(rows, self.tokens + length, device=text.device)
        else:
            if mask.ndim == 2 and self.tokens + length > _window(module):
                _check_padded_right(mask)
            arguments["attention_mask"] = self._longer(mask, 1) if mask.ndim == 2 else self._longer_blocks(mask)
        if arguments.get("token_type_ids") is not None:
            arguments["token_type_ids"] = self._longer(arguments["token_type_ids"], 0)
        if positions is None:
            positions = _first_position(module) + _counted(module, mask, rows, length, text.device)
        own = _first_position(module) + torch.arange(self.tokens, device=text.device).expand(rows, -1)
        arguments["position_ids"] = torch.cat([own, (positions + self.tokens).expand(rows, length)], dim=1)
        return {**arguments, "inputs_embeds": torch.cat([virtual, text], dim=1)}

    def _later(self, module: nn.Module, arguments: dict[str, Any], past: int) -> dict[str, Any]:
        """The arguments of a step of generation: the virtual tokens are in the cache already."""
        ids = arguments["input_ids"]
        rows, length = ids.shape
        _check_window(module, past + length)
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


def _arguments(call: Call) -> dict[str, Any]:
    bound = inspect.signature(call.own).bind(*call.args, **call.kwargs).arguments
    return {**bound, **bound.pop("kwargs", {})}


def _embedded(module: Any, arguments: dict[str, Any], prompt: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of the text, taken out of the arguments, and of the virtual tokens of its rows."""
    text = arguments.pop("inputs_embeds", None)
    ids = arguments.pop("input_ids", None)
    text = module.get_input_embeddings()(ids) if text is None else text
    return text, repeat(prompt.to(text.dtype), "task n d -> (task row) n d", row=len(text) // len(prompt))


def _check_padded_right(mask: Tensor) -> None:
    """Padding between the virtual tokens and a text would change how far they are from it. Rows of padding may be."""
    if bool((mask.any(1) & (mask[:, 0] == 0)).any()):
        raise ValueError(
            "kind 'prompt' before an encoder's text, or in local attention, needs texts padded on the right."
        )


@contextmanager
def _kept_positions(module: Any, tokens: int, length: int, *, kept: bool) -> Iterator[None]:
    """Inside the `with`, an encoder that counts positions by itself (BART) gives the text those it has alone."""
    tables = [child for name, child in module.named_children() if name == "embed_positions"] if kept else []

    def twice(table: nn.Module, inputs: Any, positions: Tensor) -> Tensor:
        return torch.cat([positions[:, :tokens], positions[:, :length]], dim=1)

    handles = [table.register_forward_hook(twice) for table in tables]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _check_unpacked(positions: Tensor | None) -> None:
    """Raise ValueError for texts packed by positions alone, which transformers tells apart only without a mask."""
    if positions is not None and bool((positions.diff() != 1).any()):
        raise ValueError(
            "kind 'prompt' cannot tell texts packed in a row by their positions alone: give a causal attention_mask of "
            "rows, queries and keys, with a block for each text."
        )


def _window(module: nn.Module) -> float:
    """How far a token sees, at least in some layers."""
    config: Any = module.config
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
    return window if window is not None and slides else math.inf


def _check_window(module: nn.Module, tokens: int) -> None:
    """Raise ValueError if a sliding-window cache has dropped its first entries, the virtual tokens."""
    if tokens > (window := _window(module)):
        raise ValueError(
            f"kind 'prompt' with gated=false cannot generate here: {tokens} tokens, virtual ones included, are more "
            f"than the sliding window of {window}, which drops the virtual tokens first. Use shorter texts, or "
            "gated=true."
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
