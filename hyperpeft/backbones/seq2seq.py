"""Encoder-decoder language models as backbones: the encoder reads the prompt, the decoder says the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, GenerationConfig

from hyperpeft.backbones.language import Groups, LanguageModel, TokenBatch, pad_targets
from hyperpeft.backbones.pretrained import check_length, fast_dtype, load_pretrained
from hyperpeft.backbones.tokens import Tokens, level, pad


@dataclass(frozen=True)
class Seq2SeqBatch(TokenBatch):
    """ids, mask: right-padded prompts for the encoder; targets: the decoder's answers, right-padded with -100."""


class Seq2Seq(LanguageModel[Seq2SeqBatch]):
    """Any AutoModelForSeq2SeqLM: T5, mT5, BART, NLLB.

    Prompts and answers are tokenised as the tokenizer does it by itself, language codes included, so set those in the
    tokenizer's own files. `max_tokens` bounds the prompt, half of it the answer. `load_in`: see `backbones.quantised`.
    """

    def __init__(
        self,
        model: str,
        max_tokens: int = 256,
        max_new_tokens: int = 32,
        template: str = "{input}",
        dtype: str = "auto",
        load_in: str = "full",
        trust_remote_code: bool = False,
        gradient_checkpointing: bool = False,
    ):
        if "{input}" not in template:
            raise ValueError(f"backbone.template is {template!r}: it must contain {{input}}.")
        loaded, tokenizer = load_pretrained(
            AutoModelForSeq2SeqLM, model, dtype=fast_dtype(dtype), load_in=load_in, trust_remote_code=trust_remote_code
        )
        super().__init__(loaded, tokenizer, model, gradient_checkpointing)
        check_length(loaded, max_tokens)
        self._settings = {
            "model": model,
            "max_tokens": max_tokens,
            "max_new_tokens": max_new_tokens,
            "template": template,
            "dtype": dtype,
            "load_in": load_in,
            "trust_remote_code": trust_remote_code,
            "gradient_checkpointing": gradient_checkpointing,
        }
        self.max_tokens = max_tokens
        self.max_new_tokens = max_new_tokens
        self.template = template
        self.tokens = Tokens(tokenizer, max_tokens)
        self._answers: dict[str, list[int]] = {}

    def settings(self) -> dict[str, Any]:
        """What builds an equal backbone."""
        return {"kind": "seq2seq", **self._settings}

    def batch(self, groups: Groups) -> Seq2SeqBatch:
        """Prompt and answer of each example."""
        width = level(groups)
        prompts: list[list[int]] = []
        answers: list[list[int]] = []
        for group in groups:
            filler: list[list[int]] = [[]] * (width - len(group))
            prompts += [self.prompt_ids(example.input) for example in group] + filler
            answers += [self._answer(example.output) for example in group] + filler
        ids, mask = self.pad_prompts(prompts)
        targets = pad_targets(answers, left=False)
        return Seq2SeqBatch(ids.to(self.device), mask.to(self.device), targets.to(self.device), len(groups))

    def _answer(self, text: str) -> list[int]:
        """As the decoder was trained to say it: with the end of sequence, and what the tokenizer puts before."""
        if text not in self._answers:
            ids: list[int] = self.tokenizer(text_target=text, verbose=False)["input_ids"]
            eos = self.tokenizer.eos_token_id
            ended = ids if eos is None or ids[-1:] == [eos] else [*ids, eos]
            self._answers[text] = self.cut_answer(ended, self.max_tokens // 2)
        return self._answers[text]

    def answer_logits(self, batch: Seq2SeqBatch) -> tuple[Tensor, Tensor]:
        """Given the labels, the model shifts them into the decoder's inputs by its own rule."""
        output = self.model(input_ids=batch.ids, attention_mask=batch.mask, labels=batch.targets, use_cache=False)
        return output.logits.float(), batch.targets

    def prompt_ids(self, text: str) -> list[int]:
        """The encoder's input."""
        return self.tokens([self.template.replace("{input}", text)])[0]

    def pad_prompts(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """On the right."""
        return pad(rows, self.pad_id)

    def generated(self, ids: Tensor, mask: Tensor, settings: GenerationConfig) -> Tensor:
        """All that the decoder says."""
        made: Tensor = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        return made
