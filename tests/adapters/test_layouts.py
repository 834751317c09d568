"""The same text in another layout of rows, padded, packed or cached, gives the same result: every kind and family."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from conftest import noise
from kinds import KINDS
from torch import Tensor
from transformers import GenerationConfig

from hyperpeft.adapters import Prefix, Prompt
from hyperpeft.backbones import Backbone
from hyperpeft.weights import AdapterWeights

TEXTS = [torch.randint(6, 60, (size,), generator=torch.Generator().manual_seed(size)) for size in (5, 4, 3, 6)]
ANSWER = torch.tensor([[3, 11, 12]])
NEW = 4
PLAIN = {"plain prompt": Prompt(tokens=3, gated=False), "plain prefix": Prefix(tokens=3, gated=False)}
LAID_OUT = {**KINDS, **PLAIN}
# positions of the encoder are counted from the left edge whatever the mask says
COUNTS_PADDING = ("bart",)
# what the bare model does with packed rows: it takes no masks of rows, queries and keys, or counts positions by itself
NEVER_PACKED = {
    "bloom": (ValueError, "too many values to unpack"),
    "bart": (AssertionError, "not close"),
    "m2m_100": (AssertionError, "not close"),
}


@pytest.fixture(params=sorted(LAID_OUT))
def adapted(request: pytest.FixtureRequest, family: Backbone[Any]) -> AdapterWeights:
    """Weights of two tasks that change the model a lot."""
    if family.settings()["kind"] == "vision" or LAID_OUT[request.param].kind not in family.kinds():
        pytest.skip("nothing to lay out, or a kind that this family does not carry (test_families.py)")
    return noise(family.start(LAID_OUT[request.param], tasks=2), 5)


def outputs(backbone: Backbone[Any], ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Logits or features `[row token d]`; of a coupled model an answer's, or its encoder's for packed texts."""
    config: Any = backbone.model.config
    inputs: dict[str, Tensor] = {"input_ids": ids, "attention_mask": mask}
    if config.is_encoder_decoder and mask.ndim == 4:
        with torch.no_grad():
            return backbone.model.get_encoder()(**inputs)[0]
    if config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ANSWER.expand(len(ids), -1)
    elif config.model_type != "bloom":
        first = config.pad_token_id + 1 if config.model_type in ("roberta", "mpnet") else 0
        inputs["position_ids"] = first + positions
    with torch.no_grad():
        return backbone.model(**inputs)[0]


def alone(family: Backbone[Any], weights: AdapterWeights | None, task: int, text: Tensor, dims: int = 2) -> Tensor:
    """One text under one task's weights, with a mask of so many dimensions."""
    own = None if weights is None else weights[task]
    mask = torch.ones_like(text)[None] if dims == 2 else torch.zeros(1, 1, len(text), len(text))
    return under(family, own, text[None], mask, torch.arange(len(text))[None])[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(family: Backbone[Any], adapted: AdapterWeights, side: str) -> None:
    if side == "left" and family.model.config.model_type in COUNTS_PADDING:
        with pytest.raises(AssertionError):
            check_padding(family, None, side)
        return
    local = family.model.config.model_type == "modernbert" and adapted.adapter == PLAIN["plain prompt"]
    if side == "left" and adapted.adapter.kind == "prompt" and (local or family.settings()["kind"] == "seq2seq"):
        with pytest.raises(ValueError, match="padded on the right"):
            check_padding(family, adapted, side)
        return
    check_padding(family, adapted, side)


def check_padding(family: Backbone[Any], weights: AdapterWeights | None, side: str) -> None:
    """Rows of unlike length, one a task, against each alone; without weights the bare model."""
    texts = TEXTS[:2]
    ids, mask = torch.full((2, 8), family.pad_id if hasattr(family, "pad_id") else 0), torch.zeros(2, 8).long()
    for row, text in enumerate(texts):
        place = slice(8 - len(text), 8) if side == "left" else slice(0, len(text))
        ids[row, place], mask[row, place] = text, 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    together = under(family, weights, ids, mask, positions)
    for row, text in enumerate(texts):
        expected = alone(family, weights, row, text)
        found = together[row] if len(together[row]) == ANSWER.shape[1] else together[row][mask[row].bool()]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def under(family: Backbone[Any], weights: AdapterWeights | None, *inputs: Tensor) -> Tensor:
    if weights is None:
        return outputs(family, *inputs)
    with family.adapted(weights):
        return outputs(family, *inputs)


def packed(texts: Sequence[Tensor], *, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Ids `[1 token]`, an additive mask `[1 1 token token]` with a block for each text, positions from 0 in each."""
    blocks = torch.block_diag(*(torch.ones(len(text), len(text)) for text in texts)).bool()
    seen = blocks.tril() if causal else blocks
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
    return torch.cat([*texts])[None], mask[None, None], torch.cat([torch.arange(len(text)) for text in texts])[None]


def test_packed_texts_are_apart(family: Backbone[Any], adapted: AdapterWeights) -> None:
    """Two texts in each row, a row a task, with a block-diagonal mask."""
    causal = family.settings()["kind"] == "causal_lm"
    if family.model.config.model_type in NEVER_PACKED:
        error, message = NEVER_PACKED[family.model.config.model_type]
        with pytest.raises(error, match=message):
            check_packing(family, None, causal=causal)
        return
    before_the_text = adapted.adapter == PLAIN["plain prompt"] or family.settings()["kind"] == "seq2seq"
    if adapted.adapter.kind == "prompt" and before_the_text and not causal:
        with pytest.raises(ValueError, match="kind 'prompt' needs masks of rows and tokens, or causal ones"):
            check_packing(family, adapted, causal=causal)
        return
    check_packing(family, adapted, causal=causal)


def check_packing(family: Backbone[Any], weights: AdapterWeights | None, *, causal: bool) -> None:
    """Rows of two texts against each text alone; without weights the bare model."""
    rows = [TEXTS[:2], TEXTS[2:]]
    inputs = [torch.cat(parts) for parts in zip(*(packed(row, causal=causal) for row in rows), strict=True)]
    together = under(family, weights, *inputs)
    dims = 4 if family.settings()["kind"] == "seq2seq" else 2
    for row, texts in enumerate(rows):
        expected = torch.cat([alone(family, weights, row, text, dims) for text in texts])
        torch.testing.assert_close(together[row], expected, rtol=1e-3, atol=1e-3)


def test_generation_with_a_cache_equals_generation_without(family: Any, adapted: AdapterWeights) -> None:
    """Prompts of unlike length, one a task. The reference: each alone, one token at a time by whole forwards."""
    if family.classifies:
        pytest.skip("a classifier generates no text")
    prompts = [text.tolist() for text in TEXTS[:2]]
    ids, mask = family.pad_prompts(prompts)
    start = family.model.generation_config.decoder_start_token_id
    for cache in (True, False):
        settings = GenerationConfig(
            max_new_tokens=NEW,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=family.ends,
            use_cache=cache,
            decoder_start_token_id=start,
        )
        with torch.no_grad(), family.adapted(adapted):
            together = family.generated(ids, mask, settings)
        for index, prompt in enumerate(prompts):
            with torch.no_grad(), family.adapted(adapted[index]):
                expected = greedy(family, prompt)
            made = together[index].tolist()
            if family.model.config.is_encoder_decoder:
                assert made.pop(0) == start
            assert made[: len(expected)] == expected, f"with use_cache={cache}"


def greedy(backbone: Any, prompt: Sequence[int]) -> list[int]:
    """One token at a time, no cache, no padding."""
    coupled = backbone.settings()["kind"] == "seq2seq"
    start = [backbone.model.generation_config.decoder_start_token_id] if coupled else []
    new: list[int] = []
    for _ in range(NEW):
        so_far = torch.tensor([start + new], dtype=torch.long)
        read = torch.tensor([prompt])
        if coupled:
            logits = backbone.model(input_ids=read, decoder_input_ids=so_far, use_cache=False).logits
        else:
            logits = backbone.model(input_ids=torch.cat([read, so_far], 1), use_cache=False).logits
        new.append(int(logits[0, -1].argmax()))
        if new[-1] in backbone.ends:
            break
    return new
