"""Examples as prompt and answer text for language models."""

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Prompt:
    """Turns an input into the text that a language model continues with the output.

    With a chat template (and `chat`), the input is the user's turn and the answer starts the assistant's; otherwise
    `template` is filled with the input. The description is never part of it.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str = "{input}\n"
    chat: bool = True

    def __post_init__(self) -> None:
        if "{input}" not in self.template:
            raise ValueError(f"backbone.template is {self.template!r}: it must contain {{input}}.")

    def before(self, text: str) -> str:
        """The prompt up to where the answer begins."""
        if self.chat and self.tokenizer.chat_template:
            turns = [{"role": "user", "content": text}]
            return str(self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
        return self.template.replace("{input}", text)

    def ids(self, text: str, max_tokens: int) -> list[int]:
        """Token ids of the prompt, its middle of the input cut if longer than `max_tokens` tokens: the end stays."""
        special = not (self.chat and self.tokenizer.chat_template)
        ids: list[int] = self.tokenizer(self.before(text), add_special_tokens=special, verbose=False)["input_ids"]
        eos = self.tokenizer.eos_token_id
        ids = ids[:-1] if special and ids and ids[-1] == eos else ids
        return ids if len(ids) <= max_tokens else ids[: max_tokens // 2] + ids[-(max_tokens - max_tokens // 2) :]

    def answer_ids(self, text: str) -> list[int]:
        """Token ids of the answer with the end-of-sequence token."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        eos = self.tokenizer.eos_token_id
        return ids if eos is None else [*ids, eos]
