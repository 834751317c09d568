"""Where the time of meta-training goes, and how much of what the backbone reads is padding.

python benchmarks/training_profile.py                          # the training part of make train, whole
python benchmarks/training_profile.py steps=20                 # shorter: texts that are new weigh more

Trains in a temporary folder with no embeddings known. Prints the share of each part in the CPU seconds of the process:
a part inside another counts for itself alone, embedding texts and validation as a whole. Exits with 1 if a part other
than the backbone, or the padding, is beyond its regression bound.
"""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from measure import Target, parser, show, verdict
from torch import Tensor
from transformers import BertModel

from hyperpeft.backbones.tokens import Tokens
from hyperpeft.config import load_config
from hyperpeft.encoders.text import TextEncoder
from hyperpeft.episodes import EpisodeSource
from hyperpeft.generator import Generator
from hyperpeft.run import Run
from hyperpeft.run_config import RunConfig
from hyperpeft.training import MetaTraining

BACKBONE, GENERATOR, TEXTS, VALIDATION = "backbone", "generator", "embedding texts", "validation"
DRAWING, TOKENS, OPTIMIZER, REST = "drawing episodes", "tokenisation", "optimizer", "trainer, logging, checkpoints"
WHOLE = (TEXTS, VALIDATION)
SHARE = Target("largest share beside backbone and validation", goal=0.15)
PADDING = Target("share of padding in what the backbone reads", goal=0.2)


class Clock:
    """CPU seconds of each part, and tokens that the backbone reads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.tokens = self.visible = 0
        self._open = [REST]
        self._since = time.process_time()
        self._outputs: list[tuple[Tensor, Tensor]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count for this part, unless inside one that counts as a whole."""
        self._charge()
        self._open.append(self._open[-1] if self._open[-1] in WHOLE else name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def timed(self, owner: type, name: str, part: str) -> Any:
        """The method, its time counted for the part."""
        own = getattr(owner, name)

        def method(*args: Any, **kwargs: Any) -> Any:
            with self.part(part):
                return own(*args, **kwargs)

        return patch.object(owner, name, method)

    def generating(self) -> Any:
        """What is generated, cut from its graph while it trains: so its backward is told from the backbone's."""
        own = Generator.forward

        def forward(generator: Generator, *args: Any, **kwargs: Any) -> Any:
            with self.part(GENERATOR):
                weights = own(generator, *args, **kwargs)
            return weights.map(self._cut) if torch.is_grad_enabled() else weights

        return patch.object(Generator, "forward", forward)

    def _cut(self, leaf: Tensor) -> Tensor:
        if not leaf.requires_grad:
            return leaf
        self._outputs.append((leaf, leaf.detach().requires_grad_(True)))
        return self._outputs[-1][1]

    def backward(self) -> Any:
        """The backward of the backbone, then of what generates."""
        own = Tensor.backward

        def both(loss: Tensor, *args: Any, **kwargs: Any) -> None:
            with self.part(BACKBONE):
                own(loss, *args, **kwargs)
            used = [(leaf, cut.grad) for leaf, cut in self._outputs if cut.grad is not None]
            self._outputs.clear()
            with self.part(GENERATOR):
                torch.autograd.backward([leaf for leaf, _ in used], [gradient for _, gradient in used])

        return patch.object(Tensor, "backward", both)

    def counted(self) -> Any:
        """The backbone's forward, its tokens counted in training."""
        own: Callable[..., Any] = BertModel.forward

        def forward(model: BertModel, *args: Any, **kwargs: Any) -> Any:
            mask = kwargs.get("attention_mask")
            if mask is not None and self._open[-1] not in WHOLE:
                self.tokens, self.visible = self.tokens + mask.numel(), self.visible + int((mask > 0).sum())
            return own(model, *args, **kwargs)

        return patch.object(BertModel, "forward", forward)


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, repeats=1)
    made.add_argument("--config", default="configs/default.yaml", help="of a run with MiniLM as its backbone")
    made.add_argument("overrides", nargs="*")
    options = made.parse_args(argv)
    clock = Clock()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, HYPERPEFT_CACHE=folder))
        overrides = [f"threads={options.threads}", *options.overrides, f"output={folder}"]
        run = Run(load_config(RunConfig, [options.config], overrides))
        for owner, name, part in (
            (EpisodeSource, "__getitem__", DRAWING),
            (Tokens, "__call__", TOKENS),
            (TextEncoder, "__call__", TEXTS),
            (TextEncoder, "states", TEXTS),
            (MetaTraining, "validation_step", VALIDATION),
            (MetaTraining, "training_step", BACKBONE),
            (torch.optim.AdamW, "step", OPTIMIZER),
        ):
            stack.enter_context(clock.timed(owner, name, part))
        for change in (clock.generating(), clock.backward(), clock.counted()):
            stack.enter_context(change)
        run.train()
    whole = sum(clock.seconds.values())
    shares = {name: seconds / whole for name, seconds in clock.seconds.items()}
    rows = [(name, f"{share:.1%}", f"{clock.seconds[name]:.1f}") for name, share in sorted(shares.items(), key=_second)]
    show(f"{options.config}, {run.config.steps} steps, {options.threads} thread(s)", ("part", "share", "CPU s"), rows)
    others = max(share for name, share in shares.items() if name not in (BACKBONE, VALIDATION))
    return verdict([(SHARE, others), (PADDING, 1 - clock.visible / max(1, clock.tokens))])


def _second(pair: tuple[str, float]) -> float:
    return -pair[1]


if __name__ == "__main__":
    sys.exit(main())
