"""Task encoders: what conditions the hypernetwork."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hyperpeft.encoders.base import TaskEncoder
from hyperpeft.encoders.description import Description
from hyperpeft.encoders.joint import Joint
from hyperpeft.encoders.reading import Reading
from hyperpeft.encoders.support import Support
from hyperpeft.encoders.text import TextEncoder


def joint(text_encoder: TextEncoder, d_task: int = 256, dropout: float = 0.0) -> Joint:
    """Description and support; either may be missing."""
    parts = [Description(text_encoder, d_task, dropout), Support(text_encoder, d_task, dropout)]
    return Joint(parts, d_task, dropout)


ENCODERS: Mapping[str, Callable[..., TaskEncoder]] = MappingProxyType(
    {"description": Description, "reading": Reading, "support": Support, "joint": joint}
)

__all__ = ["ENCODERS", "Description", "Joint", "Reading", "Support", "TaskEncoder", "TextEncoder", "joint"]
