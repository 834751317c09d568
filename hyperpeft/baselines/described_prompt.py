"""The description in the prompt, nothing learned."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.adapters import AdapterKind
from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.baselines.prompted import reads_prompts, rewritten, told, with_prompts
from hyperpeft.tasks import Episode


class DescribedPrompt(Method):
    """A language model that reads the task's first description before each input; the support is not used.

    A prompt longer than the backbone's `max_tokens` loses its middle. Without a description it is the bare backbone.
    """

    name = "description in the prompt"
    trainable = False

    def __init__(self, adapter: AdapterKind):
        self.adapter = adapter

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """The identity for each task, asked with longer inputs."""
        weights = with_prompts(backbone).start(self.adapter, tasks=len(episodes))
        return Start(backbone, weights, [_described(episode) for episode in episodes])

    def suits(self, backbone: Backbone[Any]) -> bool:
        """Language models that continue a prompt."""
        return reads_prompts(backbone)


def _described(episode: Episode) -> Episode:
    description = (*episode.descriptions, "")[0]
    return rewritten(episode, [told(description, [], example.input) for example in episode.query])
