"""More keys and values for a frozen attention module; no cache or position is touched.

transformers looks the attention function up by a name in the module's config. For the length of one forward the
module gets a copy of its config with our name in it; everything else in the model keeps the original one.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from hyperpeft.adapters.base import Call

NAME = "hyperpeft"
Result = tuple[Tensor, Tensor | None]
Attention = Callable[..., Result]


def _dispatch(module: nn.Module, *args: Any, **kwargs: Any) -> Result:
    return module.__dict__["_attention"](module, *args, **kwargs)


ALL_ATTENTION_FUNCTIONS.register(NAME, _dispatch)


def can_be_replaced(module: nn.Module) -> bool:
    """Whether the module may look its attention function up by its config."""
    return "Attention" in type(module).__name__ and isinstance(module.__dict__.get("config"), PreTrainedConfig)


@contextmanager
def replaced(module: Any, forward: Callable[..., Any], make: Callable[[Attention], Attention]) -> Iterator[None]:
    """The module's attention function replaced, inside the `with`, by `make(original)`."""
    config = module.config
    name = config._attn_implementation
    if name == "eager":
        original = inspect.unwrap(forward).__globals__.get("eager_attention_forward")
    else:
        original = ALL_ATTENTION_FUNCTIONS[name]
    other = copy.copy(config)
    other.__dict__["_attn_implementation_internal"] = NAME
    try:
        module.__dict__.update(config=other, _attention=make(original))
        yield
    finally:
        module.__dict__["config"] = config
        module.__dict__.pop("_attention", None)


@contextmanager
def watched(modules: Mapping[str, Any], note: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """Inside the `with`, `note(path, key, value)` whenever one of the modules attends; what they compute stays."""
    with ExitStack() as stack:
        for path, module in modules.items():
            forward = inspect.unwrap(type(module).forward)
            stack.enter_context(replaced(module, forward, partial(_noting, note, path)))
        yield


def _noting(note: Callable[[str, Tensor, Tensor], None], path: str, original: Attention) -> Attention:
    def attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **settings: Any) -> Result:
        note(path, key, value)
        return original(module, query, key, value, *args, **settings)

    return attention


def attend(call: Call, function: Callable[..., Result]) -> Any:
    """The call, with `function(original, module, query, key, value, mask, **kwargs)` for its attention function."""
    forward = inspect.unwrap(call.own.__func__)  # type: ignore[attr-defined]
    # transformers' sdpa attention computes without a soft cap, whatever the module says
    unheard = {"softcap": None} if call.module.config._attn_implementation == "sdpa" else {}

    def make(original: Attention) -> Attention:
        def heard(*args: Any, **settings: Any) -> Result:
            return function(original, *args, **{**settings, **unheard})

        return heard

    with replaced(call.module, forward, make):
        return call.run()


def gated(
    gate: Tensor, query: Tensor, key: Tensor, value: Tensor, settings: Mapping[str, Any], bias: Tensor | None = None
) -> Tensor:
    """gate * attention to extra keys alone, `[row token head d]`: what is added to the plain attention.

    The zero-initialised attention of LLaMA-Adapter (Zhang et al. 2023, arXiv:2303.16199), with one gate a layer:
    a softmax of its own, so that a gate of 0 leaves the plain attention and has a gradient that does not depend on how
    long the text is. `gate`: `[task 1 1]`. Keys and values `[row kv n d]`. `bias`: what is added to their scores,
    `[1 head token n]`.
    """
    let_in = rearrange(gate.to(value.dtype), "task 1 1 -> task 1 1 1").repeat_interleave(len(value) // len(gate), 0)
    grouped = rearrange(query, "b (k g) t d -> b k g t d", k=key.shape[1])
    scores = torch.einsum("bkgtd,bknd->bkgtn", grouped, key * settings["scaling"]).float()
    if bias is not None:
        scores = scores + rearrange(bias.float(), "b (k g) t n -> b k g t n", k=key.shape[1])
    cap = settings.get("softcap")
    scores = scores if cap is None else cap * torch.tanh(scores / cap)
    extra = torch.einsum("bkgtn,bknd->bkgtd", scores.softmax(-1).to(value.dtype), value * let_in)
    return rearrange(extra, "b k g t d -> b t (k g) d")


def widened(
    original: Attention,
    module: nn.Module,
    query: Tensor,
    keys: tuple[Tensor, Tensor],
    values: tuple[Tensor, Tensor],
    mask: Tensor | None,
    **settings: Any,
) -> Result:
    """One softmax over extra keys, which all see, and the text's: `keys` and `values` are of both, in this order."""
    extra = keys[0].shape[2]
    mask = as_mask(module, mask, query, keys[1], settings)
    mask = functional.pad(mask, (extra, 0), value=mask.dtype == torch.bool)
    if settings.get("position_bias") is not None:
        settings["position_bias"] = functional.pad(settings["position_bias"], (extra, 0))
    return original(module, query, torch.cat(keys, 2), torch.cat(values, 2), mask, **settings)


def as_mask(module: Any, mask: Tensor | None, query: Tensor, key: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """What each query sees of the keys, `[row 1 token key]` (sizes of 1 broadcast), as the module's attention takes it.

    Where no mask is given this is all of them, or those up to the query's own in a causal module.
    """
    if mask is not None:
        return mask
    tokens, keys = query.shape[2], key.shape[2]
    causal = settings.get("is_causal")
    seen = torch.ones(1, 1, tokens, keys, dtype=torch.bool, device=query.device)
    if tokens > 1 and (module.is_causal if causal is None else causal):
        seen = seen.tril()
    if module.config._attn_implementation != "eager":
        return seen
    return torch.zeros_like(seen, dtype=query.dtype).masked_fill(~seen, torch.finfo(query.dtype).min)


def heads(x: Tensor, rows: int, d_head: int) -> Tensor:
    """`[task n (kv d)]` keys or values as `[row kv n d]`, rows grouped by task."""
    return repeat(x, "task n (k d) -> (task row) k n d", row=rows // len(x), d=d_head)


__all__ = ["as_mask", "attend", "can_be_replaced", "gated", "heads", "replaced", "watched", "widened"]
