"""What an export is: adapter weights of one task written where another program reads them."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.weights import AdapterWeights


@dataclass(frozen=True)
class Exported:
    """What is exported: weights of one task, the backbone they are for, and a model card in Markdown.

    Raises ValueError for weights of several tasks.
    """

    weights: AdapterWeights
    backbone: Backbone[Any]
    card: str

    def __post_init__(self) -> None:
        if self.weights.tasks != 1:
            raise ValueError(
                f"an export holds one task's adapter; these weights hold {self.weights.tasks}. Choose one: weights[0]."
            )

    def require(self, kinds: Sequence[str], format_name: str) -> None:
        """Raise ValueError if the format carries other kinds of adapter only."""
        kind = self.weights.adapter.kind
        if kind not in kinds:
            raise ValueError(
                f"format {format_name!r} does not carry adapters of kind {kind!r}; it carries {list(kinds)}."
            )


Export = Callable[[Exported, Path], None]


@contextmanager
def written_at_once(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` when the `with` ends well, and vanishes when it does not.

    Raises FileExistsError if `path` exists and may not be replaced.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already. Choose another path, or pass overwrite=True.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        partial.chmod(0o755)
        yield partial
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as former:
            if path.exists():
                path.replace(Path(former) / path.name)
            partial.replace(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
