"""Prompts: what a language model is asked where the task is told in words and examples."""

import logging
from pathlib import Path

import pytest
import torch
from conftest import color_episode, size_episode

from hyperpeft.adapters import Lora
from hyperpeft.backbones import CausalLm
from hyperpeft.baselines import DescribedPrompt, InContext, ZeroShot
from hyperpeft.tasks import Episode, Example

LORA = Lora(rank=2)
BARE = {"descriptions": ()}


def language_model(folders: dict[str, Path], max_tokens: int = 200, template: str = "{input}\n") -> CausalLm:
    return CausalLm(str(folders["llama"]), dtype="float32", max_tokens=max_tokens, max_new_tokens=4, template=template)


def inputs(method: DescribedPrompt | InContext, backbone: CausalLm, episode: Episode) -> list[str]:
    (asked,) = method.adapt(backbone, [episode]).episodes
    assert [example.output for example in asked.query] == [example.output for example in episode.query]
    return [example.input for example in asked.query]


def test_the_first_description_stands_before_each_input(folders: dict[str, Path]) -> None:
    backbone = language_model(folders)
    found = inputs(DescribedPrompt(LORA), backbone, size_episode())
    assert [backbone.prompt.before(text) for text in found] == [
        "Is it big or small?\n\nant\n", "Is it big or small?\n\nelephant\n"
    ]  # fmt: skip
    assert inputs(DescribedPrompt(LORA), backbone, size_episode(**BARE)) == ["ant", "elephant"]


@pytest.mark.parametrize("template", ["{input}\n", "Q: {input}\nA: "])
def test_demonstrations_follow_the_backbones_own_format(folders: dict[str, Path], template: str) -> None:
    backbone = language_model(folders, template=template)
    (prompt, _) = map(backbone.prompt.before, inputs(InContext(LORA), backbone, size_episode(**BARE)))
    shown = [template.replace("{input}", text) for text in ("mouse", "whale", "ant")]
    assert prompt == f"{shown[0]}small\n\n{shown[1]}big\n\n{shown[2]}"


def test_a_description_opens_the_first_input(folders: dict[str, Path]) -> None:
    backbone = language_model(folders, template="Q: {input}\nA: ")
    (prompt, _) = map(backbone.prompt.before, inputs(InContext(LORA), backbone, size_episode()))
    assert prompt == "Q: Is it big or small?\n\nmouse\nA: small\n\nQ: whale\nA: big\n\nQ: ant\nA: "


def test_prompts_matter_and_without_anything_to_tell_the_backbone_is_bare(folders: dict[str, Path]) -> None:
    backbone = language_model(folders)

    def probabilities(method: ZeroShot | DescribedPrompt | InContext, episode: Episode) -> torch.Tensor:
        (answers,) = method.adapt(backbone, [episode]).answers()
        assert answers.probabilities is not None
        return answers.probabilities

    bare = probabilities(ZeroShot(LORA), color_episode())
    assert torch.equal(probabilities(DescribedPrompt(LORA), color_episode(**BARE)), bare)
    described = probabilities(DescribedPrompt(LORA), color_episode())
    assert not torch.allclose(described, bare)
    assert torch.equal(probabilities(DescribedPrompt(LORA), color_episode(support=())), described)
    demonstrated = probabilities(InContext(LORA), color_episode())
    turned = [Example(e.input, "red" if e.output == "green" else "green") for e in color_episode().support]
    assert not torch.allclose(probabilities(InContext(LORA), color_episode(support=tuple(turned))), demonstrated)


@pytest.mark.parametrize("max_tokens", [30, 60, 90])
def test_as_many_demonstrations_as_fit_are_shown_and_labels_take_turns(
    folders: dict[str, Path], max_tokens: int, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = language_model(folders, max_tokens=max_tokens)
    leaves = [Example(f"leaf {n}", "green") for n in range(5)]
    support = (*leaves, Example("rose", "red"), Example("lip", "red"))
    first = ["leaf 0\ngreen", "rose\nred", "leaf 1\ngreen", "lip\nred"]
    turns = [*first, "leaf 2\ngreen", "leaf 3\ngreen", "leaf 4\ngreen"]
    with caplog.at_level(logging.INFO):
        found = inputs(InContext(LORA), backbone, color_episode(support=support, **BARE))
    room = max_tokens - max(len(backbone.prompt.answer_ids(label)) for label in ("green", "red"))
    counts = []
    for text, example in zip(found, color_episode().query, strict=True):
        *shown, asked = text.split("\n\n")
        assert asked == example.input
        assert shown == turns[: len(shown)]
        longer = "\n\n".join([*turns[: len(shown) + 1], asked])
        assert len(backbone.prompt.ids(text, 10**6)) <= room < len(backbone.prompt.ids(longer, 10**6))
        counts.append(len(shown))
    assert min(counts) < 7
    assert f"task colors: up to {7 - min(counts)} of 7 demonstrations are left out" in caplog.text


def test_where_all_fit_all_are_shown_and_nothing_is_logged(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = inputs(InContext(LORA), language_model(folders), color_episode())
    assert all(len(text.split("\n\n")) == 1 + 4 + 1 for text in found)
    assert "left out" not in caplog.text


def test_a_chat_has_all_of_it_in_the_users_turn(folders: dict[str, Path]) -> None:
    backbone = language_model(folders)
    backbone.tokenizer.chat_template = (
        "{% for m in messages %}({{ m.role }}){{ m.content }}{% endfor %}(assistant)"  # as short as one can be
    )
    (prompt, _) = map(backbone.prompt.before, inputs(InContext(LORA), backbone, size_episode()))
    assert prompt == "(user)Is it big or small?\n\nmouse\nsmall\n\nwhale\nbig\n\nant(assistant)"
