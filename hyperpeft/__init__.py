"""hyperpeft: adapters for frozen pretrained models, generated from task descriptions and examples."""

from hyperpeft.api import Adapter, export_many, generate, generate_many, load_adapter
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
