"""More keys and values for a frozen attention module, let in through a gate; no cache, mask or position is touched.

transformers looks the attention function up by a name in the module's config. For the length of one forward the
module gets a copy of its config with our name in it; everything else in the model keeps the original one.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
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


def mixed(
    plain: Tensor,
    weight: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    settings: Mapping[str, Any],
    bias: Tensor | None = None,
) -> Tensor:
    """plain + r * (extra - plain), `[row token head d]`: attention to extra keys, mixed into the plain attention.

    r = g E / (T + |g| E) with T and E the sums of exp(score) over the text's and the extra keys: g = 1 is one softmax
    over both (prefix tuning), g = 0 exactly the plain attention, and its gradient there is not zero.
    `weight`: g and log T as from `text_weight`, `[row head token]` each, stacked. Keys and values `[row kv n d]`.
    `bias`: what is added to the scores of the extra keys, `[1 head token n]`.
    """
    gate, log_text = weight
    scores = _scores(query, key, settings, bias)
    extra = torch.einsum("bkgtn,bknd->bkgtd", scores.softmax(-1).to(value.dtype), value)
    log_ratio = rearrange(scores.logsumexp(-1), "b k g t -> b (k g) t") - log_text
    # T5 does not scale its scores: a ratio of exp(-89) would be infinite upside down, and its gradient no number
    share = gate / (torch.exp(-log_ratio.clamp(-40.0, 20.0)) + gate.abs())
    difference = rearrange(extra, "b k g t d -> b t (k g) d") - plain
    return plain + rearrange(share, "b h t -> b t h 1").to(plain.dtype) * difference


def text_weight(
    gate: Tensor, module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, **settings: Any
) -> Tensor:
    """The gate `[row]` and log of the sum of exp(score) over the frozen keys, `[2 row head token]`.

    Raises ValueError for scores that are changed in a way unknown here (sinks).
    """
    if settings.get("s_aux") is not None:
        raise ValueError(f"the attention of {type(module).__name__} uses 's_aux': prompt and prefix cannot mix in.")
    scores = rearrange(_scores(query, key, settings, settings.get("position_bias")), "b k g t n -> b (k g) t n")
    tokens, keys = scores.shape[-2:]
    causal = settings.get("is_causal")
    if mask is not None:
        mask = mask[..., :keys]
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask.float()
    elif tokens > 1 and (module.is_causal if causal is None else causal):
        future = torch.ones(tokens, keys, dtype=torch.bool, device=query.device).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    log_text = scores.logsumexp(-1)
    return torch.stack([rearrange(gate.float(), "row -> row 1 1").expand_as(log_text), log_text])


def _scores(query: Tensor, key: Tensor, settings: Mapping[str, Any], bias: Tensor | None) -> Tensor:
    """`[row kv group token n]` in fp32: queries of a group share a head of keys; T5 adds a bias `[1 head token n]`."""
    grouped = rearrange(query, "b (k g) t d -> b k g t d", k=key.shape[1])
    scores = torch.einsum("bkgtd,bknd->bkgtn", grouped, key).float() * settings["scaling"]
    if bias is not None:
        scores = scores + rearrange(bias.float(), "b (k g) t n -> b k g t n", k=key.shape[1])
    cap = settings.get("softcap")
    return scores if cap is None else cap * torch.tanh(scores / cap)


def heads(x: Tensor, rows: int, d_head: int) -> Tensor:
    """`[task n (kv d)]` keys or values as `[row kv n d]`, rows grouped by task."""
    return repeat(x, "task n (k d) -> (task row) k n d", row=rows // len(x), d=d_head)


def gates(gate: Tensor, rows: int) -> Tensor:
    """A gate `[task 1 1]` for each row."""
    return repeat(gate, "task 1 1 -> (task row)", row=rows // len(gate))


__all__ = ["attend", "can_be_replaced", "gates", "heads", "mixed", "replaced", "text_weight"]
