"""Causal language models as backbones: loss is on the output tokens only."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationConfig

from hyperpeft.backbones.language import IGNORED, Groups, LanguageModel, TokenBatch, pad_targets
from hyperpeft.backbones.pretrained import check_length, fast_dtype, load_pretrained
from hyperpeft.backbones.tokens import level, pad
from hyperpeft.prompts import Prompt
from hyperpeft.tasks import Example


@dataclass(frozen=True)
class CausalLmBatch(TokenBatch):
    """Left-padded prompts with their answers `[(task row) token]`; targets are the answer's tokens, -100 elsewhere."""


class CausalLm(LanguageModel[CausalLmBatch]):
    """Any AutoModelForCausalLM.

    `max_tokens` bounds prompt and answer together, `max_new_tokens` what is generated. `load_in`: see
    `backbones.quantised`.
    """

    def __init__(
        self,
        model: str,
        max_tokens: int = 256,
        max_new_tokens: int = 32,
        template: str = "{input}\n",
        chat: bool = True,
        dtype: str = "auto",
        load_in: str = "full",
        trust_remote_code: bool = False,
        gradient_checkpointing: bool = False,
    ):
        loaded, tokenizer = load_pretrained(
            AutoModelForCausalLM, model, dtype=fast_dtype(dtype), load_in=load_in, trust_remote_code=trust_remote_code
        )
        super().__init__(loaded, tokenizer, model, gradient_checkpointing)
        check_length(loaded, max_tokens)
        self._settings = {
            "model": model,
            "max_tokens": max_tokens,
            "max_new_tokens": max_new_tokens,
            "template": template,
            "chat": chat,
            "dtype": dtype,
            "load_in": load_in,
            "trust_remote_code": trust_remote_code,
            "gradient_checkpointing": gradient_checkpointing,
        }
        self.max_tokens = max_tokens
        self.max_new_tokens = max_new_tokens
        self.prompt = Prompt(tokenizer, template, chat)
        self._takes = inspect.signature(loaded.forward).parameters
        self._rows: dict[tuple[str, str], tuple[list[int], list[int]]] = {}

    def settings(self) -> dict[str, Any]:
        """What builds an equal backbone."""
        return {"kind": "causal_lm", **self._settings}

    def batch(self, groups: Groups) -> CausalLmBatch:
        """Prompt and answer of each example, the answers at the right end."""
        width = level(groups)
        rows: list[tuple[list[int], list[int]]] = []
        for group in groups:
            rows += [self._row(example) for example in group] + [([], [])] * (width - len(group))
        ids, mask = self.pad_prompts([prompt + answer for prompt, answer in rows])
        targets = pad_targets([[IGNORED] * len(prompt) + answer for prompt, answer in rows], left=True)
        return CausalLmBatch(ids.to(self.device), mask.to(self.device), targets.to(self.device), len(groups))

    def _row(self, example: Example) -> tuple[list[int], list[int]]:
        key = (example.input, example.output)
        if key not in self._rows:
            answer = self.cut_answer(self.prompt.answer_ids(example.output), self.max_tokens // 2)
            self._rows[key] = self.prompt.ids(example.input, self.max_tokens - len(answer)), answer
        return self._rows[key]

    def answer_logits(self, batch: CausalLmBatch) -> tuple[Tensor, Tensor]:
        """Answers end the left-padded rows, so logits are computed for the last positions only."""
        keep = int((batch.targets != IGNORED).sum(1).max()) + 1
        extra: dict[str, Any] = {"logits_to_keep": keep} if "logits_to_keep" in self._takes else {}
        if "position_ids" in self._takes:
            extra["position_ids"] = (batch.mask.cumsum(1) - 1).clamp(min=0)
        output = self.model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False, **extra)
        return output.logits[:, -keep:-1].float(), batch.targets[:, -keep + 1 :]

    def prompt_ids(self, text: str) -> list[int]:
        """The prompt up to where the answer begins, with room left for it."""
        return self.prompt.ids(text, self.max_tokens)

    def pad_prompts(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """On the left."""
        return pad(rows, self.pad_id, left=True)

    def generated(self, ids: Tensor, mask: Tensor, settings: GenerationConfig) -> Tensor:
        """What follows the prompts."""
        made: Tensor = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        return made[:, ids.shape[1] :]
