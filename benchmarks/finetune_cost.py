"""What a brief fine-tune costs: against bare passes of the frozen backbone, and several tasks at once against one.

python benchmarks/finetune_cost.py                      # MiniLM, 20 steps on 16 examples, 8 tasks
python benchmarks/finetune_cost.py --backbone FOLDER --steps 5 --repeats 9
python benchmarks/finetune_cost.py --wall --threads 2   # what a user waits for, on an idle machine

The tasks are those of tasks/everyday; the one alone is that with the median number of words. Ratios are medians of
interleaved repetitions with quartiles. Exits with 1 if a ratio is worse than its regression bound.
"""

import sys
import time
from collections.abc import Sequence
from statistics import median

from measure import Target, Work, everyday, frozen_step, interleaved, parsed, parser, show, spread, verdict

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.adapters import Lora
from hyperpeft.backbones import MINILM, Encoder
from hyperpeft.tasks import Episode

SECONDS = Target("CPU seconds of one fine-tune (3 s on 2 cores)", goal=6.0)
WAIT = Target("wall seconds of one fine-tune", goal=3.0)
BARE = Target("fine-tune / bare passes", goal=1.25)
TOGETHER = Target("several tasks at once / one", goal=3.0, recorded=5.6)
PADDING = Target("share of padding", goal=0.2)


FEWER = 5
"""Several tasks and the one beside them take so many times fewer steps: the ratio is the same, and sooner known."""


def words(episode: Episode) -> int:
    return sum(len(example.input.split()) for example in episode.support)


def works(backbone: Encoder, one: Episode, all_of_them: Sequence[Episode], steps: int) -> dict[str, Work]:
    settings, few = FinetuneSettings(steps=steps), FinetuneSettings(steps=max(1, steps // FEWER))
    alone, several = backbone.start(Lora()), backbone.start(Lora(), tasks=len(all_of_them))
    bare, bare_several = (frozen_step(backbone, backbone.support_batch(part)) for part in ([one], all_of_them))
    return {
        "bare passes": lambda: [bare() for _ in range(steps)],
        "fine-tune": lambda: finetune(backbone, alone, [one], settings),
        "fewer steps": lambda: finetune(backbone, alone, [one], few),
        "bare passes, several tasks": lambda: [bare_several() for _ in range(few.steps)],
        "fewer steps, several tasks": lambda: finetune(backbone, several, all_of_them, few),
    }


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, repeats=3)
    made.add_argument("--backbone", default=MINILM, help="a folder with a text encoder")
    made.add_argument("--dtype", default="auto", help="of the backbone: float32, bfloat16, auto")
    made.add_argument("--steps", type=int, default=20)
    made.add_argument("--examples", type=int, default=16)
    made.add_argument("--tasks", type=int, default=8)
    made.add_argument("--wall", action="store_true", help="wall seconds in place of CPU seconds")
    options = parsed(made, argv)
    backbone = Encoder(options.backbone, dtype=options.dtype)
    episodes = sorted(everyday(options.tasks, options.examples), key=words)
    one = episodes[len(episodes) // 2]
    seconds = interleaved(
        works(backbone, one, episodes, options.steps),
        options.repeats,
        time.perf_counter if options.wall else time.process_time,
    )
    pairs = {
        "fine-tune / bare passes": ("fine-tune", "bare passes"),
        f"{options.tasks} tasks at once / one": ("fewer steps, several tasks", "fewer steps"),
        f"{options.tasks} tasks at once / their bare passes": (
            "fewer steps, several tasks",
            "bare passes, several tasks",
        ),
    }
    spreads = {name: spread(seconds[work], seconds[base]) for name, (work, base) in pairs.items()}
    title = f"{options.steps} steps on {options.examples} examples, {backbone.model.dtype}"
    show(title, ("works", "ratio (quartiles)"), list(spreads.items()))
    padding = {
        "one task": backbone.support_batch([one]).inputs.padding,  # type: ignore[attr-defined]
        f"{options.tasks} tasks": backbone.support_batch(episodes).inputs.padding,  # type: ignore[attr-defined]
    }
    show("padding", ("batch", "share"), [(name, f"{share:.2f}") for name, share in padding.items()])
    ratio, together, *_ = spreads.values()
    return verdict(
        [
            (WAIT if options.wall else SECONDS, median(seconds["fine-tune"])),
            (BARE, ratio.median),
            (TOGETHER, together.median),
            (PADDING, max(padding.values())),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
