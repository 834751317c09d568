"""The parts of learn2learn that are used here: algorithms, utils, optim. The one place that imports it.

learn2learn 0.2.0 imports gym, torchvision and more at its top. They are not used here and are not installed:
placeholder modules stand for its `gym`, `vision` and `text` parts while it is imported. Arnold et al. 2020,
arXiv:2008.12284.
"""

import importlib
import sys
from types import ModuleType

INSTALL = (
    "pip install requests tqdm && "
    "pip install --no-deps --use-pep517 --config-settings=--build-option=build_ext learn2learn==0.2.0"
)
UNUSED = ("gym", "vision", "text")


def learn2learn() -> ModuleType:
    """The learn2learn package with `algorithms`, `utils` and `optim`.

    Raises ImportError with the exact install command where it is missing (its dependency list is not to be resolved).
    """
    if "learn2learn" in sys.modules:
        return sys.modules["learn2learn"]
    placeholders = {f"learn2learn.{part}": ModuleType(f"learn2learn.{part}") for part in UNUSED}
    sys.modules.update(placeholders)
    try:
        return importlib.import_module("learn2learn")
    except ImportError as error:
        raise ImportError(
            f"this needs learn2learn, which cannot be imported ({error}). Install it so:\n{INSTALL}"
        ) from error
    finally:
        for name, module in placeholders.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
