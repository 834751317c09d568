"""A text with virtual tokens before it: what a transformer must be told, and what it cannot do."""

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from einops import repeat
from torch import Tensor, nn

from hyperpeft.adapters.base import Call


def bound(call: Call) -> dict[str, Any]:
    """The arguments of a call by their names."""
    given = inspect.signature(call.own).bind(*call.args, **call.kwargs).arguments
    return {**given, **given.pop("kwargs", {})}


def embedded(module: Any, arguments: dict[str, Any], prompt: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of the text, taken out of the arguments, and of the virtual tokens of its rows."""
    text = arguments.pop("inputs_embeds", None)
    ids = arguments.pop("input_ids", None)
    text = module.get_input_embeddings()(ids) if text is None else text
    return text, repeat(prompt.to(text.dtype), "task n d -> (task row) n d", row=len(text) // len(prompt))


def check_padded_right(mask: Tensor) -> None:
    """Padding between the virtual tokens and a text would change how far they are from it. Rows of padding may be."""
    if bool((mask.any(1) & (mask[:, 0] == 0)).any()):
        raise ValueError(
            "kind 'prompt' before an encoder's text, or in local attention, needs texts padded on the right."
        )


@contextmanager
def kept_positions(module: Any, tokens: int, length: int, *, kept: bool) -> Iterator[None]:
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


def check_unpacked(positions: Tensor | None) -> None:
    """Raise ValueError for texts packed by positions alone, which transformers tells apart only without a mask."""
    if positions is not None and bool((positions.diff() != 1).any()):
        raise ValueError(
            "kind 'prompt' cannot tell texts packed in a row by their positions alone: give a causal attention_mask of "
            "rows, queries and keys, with a block for each text."
        )


def window(module: nn.Module) -> float:
    """How far a token sees, at least in some layers."""
    config: Any = module.config
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
    return window if window is not None and slides else math.inf


def check_window(module: nn.Module, tokens: int) -> None:
    """Raise ValueError if a sliding-window cache has dropped its first entries, the virtual tokens."""
    if tokens > (most := window(module)):
        raise ValueError(
            f"kind 'prompt' with gated=false cannot generate here: {tokens} tokens, virtual ones included, are more "
            f"than the sliding window of {most}, which drops the virtual tokens first. Use shorter texts, or "
            "gated=true."
        )


def counted(module: nn.Module, mask: Tensor | None, rows: int, length: int, device: torch.device) -> Tensor:
    """Positions from 0 where none are given: OPT counts the visible tokens alone."""
    config: Any = module.config
    if config.model_type == "opt" and mask is not None:
        return (mask.cumsum(1) - 1).clamp(min=0)
    return torch.arange(length, device=device).expand(rows, length)


def first_position(module: nn.Module) -> int:
    """The position of the first token where none are given: RoBERTa's begin after its padding index."""
    config: Any = module.config
    return config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0


def without_virtual(module: nn.Module, output: Any, tokens: int) -> Any:
    """The output with the text's positions only; a pooler sees the text's first token."""
    output.last_hidden_state = output.last_hidden_state[:, tokens:]
    if output.get("hidden_states") is not None:
        output.hidden_states = tuple(hidden[:, tokens:] for hidden in output.hidden_states)
    if output.get("pooler_output") is not None:
        output.pooler_output = module.pooler(output.last_hidden_state)  # type: ignore[operator]
    return output
