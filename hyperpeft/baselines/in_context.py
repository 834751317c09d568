"""Demonstrations in the prompt, nothing learned."""

import logging
import sys
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from hyperpeft.adaptation import balanced
from hyperpeft.adapters import AdapterKind
from hyperpeft.backbones import Backbone, CausalLm
from hyperpeft.baselines.base import Method, Start
from hyperpeft.baselines.fitted import check_support
from hyperpeft.baselines.prompted import reads_prompts, rewritten, told, with_prompts
from hyperpeft.tasks import Episode

log = logging.getLogger(__name__)


class InContext(Method):
    """A language model that reads the task's first description, if any, and its support before each input.

    In-context learning: Brown et al. 2020, arXiv:2005.14165. Labels take turns in the order of the demonstrations. Of
    these as many as fit the backbone's `max_tokens` with the input and the longest label are shown, from the first
    on, for each input by itself; a log line a task says how many were left out.
    """

    name = "in-context demonstrations"
    trainable = False
    needs_support = True

    def __init__(self, adapter: AdapterKind):
        self.adapter = adapter

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """The identity for each task, asked with longer inputs. Raises ValueError without support."""
        check_support(episodes, self.name)
        prompting = with_prompts(backbone)
        weights = prompting.start(self.adapter, tasks=len(episodes))
        return Start(backbone, weights, [_demonstrated(prompting, episode) for episode in episodes])

    def suits(self, backbone: Backbone[Any]) -> bool:
        """Language models that continue a prompt."""
        return reads_prompts(backbone)


def _demonstrated(backbone: CausalLm, episode: Episode) -> Episode:
    answers = [len(backbone.prompt.answer_ids(label)) for label in episode.labels]
    room = backbone.max_tokens - max(answers, default=0)
    found = [_prompt(backbone, episode, example.input, room) for example in episode.query]
    left_out = [len(episode.support) - count for _, count in found]
    if any(left_out):
        log.info(
            "task %s: up to %d of %d demonstrations are left out of a prompt of max_tokens %d",
            episode.task, max(left_out), len(episode.support), backbone.max_tokens,
        )  # fmt: skip
    return rewritten(episode, [text for text, _ in found])


def _prompt(backbone: CausalLm, episode: Episode, text: str, room: int) -> tuple[str, int]:
    """The rewritten input with as many demonstrations as fit, and their number."""
    demonstrations = balanced(episode.support)
    description = (*episode.descriptions, "")[0]

    def asked(count: int) -> str:
        return told(description, demonstrations[:count], text, backbone.prompt.template)

    def too_long(count: int) -> bool:
        return len(backbone.prompt.ids(asked(count), sys.maxsize)) > room

    count = bisect_left(range(1, len(demonstrations) + 1), True, key=too_long)
    return asked(count), count
