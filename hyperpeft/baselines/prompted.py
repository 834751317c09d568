"""Inputs rewritten so that description and demonstrations stand before them in a language model's prompt."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hyperpeft.backbones import Backbone, CausalLm
from hyperpeft.tasks import Episode, Example


def reads_prompts(backbone: Backbone[Any]) -> bool:
    """Whether the backbone continues a prompt."""
    return isinstance(backbone, CausalLm)


def with_prompts(backbone: Backbone[Any]) -> CausalLm:
    """The backbone itself. Raises ValueError if it reads no prompts."""
    if not isinstance(backbone, CausalLm):
        raise ValueError(f"backbone {backbone.name} reads no prompts: take a causal_lm backbone.")
    return backbone


def told(description: str, demonstrations: Sequence[Example], text: str, template: str = "{input}") -> str:
    """The input that makes a prompt of template: description, demonstrations with their outputs, then the text.

    Demonstrations follow the backbone's template, each ended by an empty line; the description stands inside the
    first input. In a chat all of it is one user turn.
    """
    before, _, after = template.partition("{input}")
    shown = "".join(f"{example.input}{after}{example.output}\n\n{before}" for example in demonstrations)
    return f"{description}\n\n{shown}{text}" if description else shown + text


def rewritten(episode: Episode, texts: Sequence[str]) -> Episode:
    """The episode asked with other query inputs, without support: what it has to tell is in the inputs."""
    query = [Example(text, example.output) for text, example in zip(texts, episode.query, strict=True)]
    return replace(episode, query=tuple(query), support=())
