"""hyperpeft: adapters for frozen pretrained models, generated from task descriptions and examples."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperpeft.adapter import Adapter
    from hyperpeft.api import export_many, generate, generate_many, load_adapter
    from hyperpeft.generator import Generator
    from hyperpeft.loading import load_generator
    from hyperpeft.tasks import Episode, Example, Task, TaskError
    from hyperpeft.weights import AdapterWeights

__version__ = "0.1.0"

__all__ = [
    "Adapter",
    "AdapterWeights",
    "Episode",
    "Example",
    "Generator",
    "Task",
    "TaskError",
    "export_many",
    "generate",
    "generate_many",
    "load_adapter",
    "load_generator",
]

_MODULES = {"Adapter": "adapter", "Generator": "generator", "AdapterWeights": "weights"}
_MODULES |= dict.fromkeys(("Episode", "Example", "Task", "TaskError"), "tasks")


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used: the command line's help must not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module 'hyperpeft' has no attribute {name!r}")
    value = getattr(import_module(f"hyperpeft.{_MODULES.get(name, 'api')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
