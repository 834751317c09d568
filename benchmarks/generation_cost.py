"""What generating adapters costs: against one forward of the backbone, many at once against one by one, and in memory.

python benchmarks/generation_cost.py                    # the generator in the package; 256 adapters
python benchmarks/generation_cost.py --generator FOLDER --many 64 --repeats 15

The text encoder keeps nothing, so that each adapter pays for the embeddings of its texts; `hypernetwork alone` is what
is left when they are known. Ratios are medians of interleaved repetitions with quartiles.
Exits with 1 if a ratio is worse than its regression bound.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import torch
from measure import Target, Work, everyday, interleaved, parsed, parser, show, spread, verdict

from hyperpeft.api import load_generator
from hyperpeft.backbones import Encoder
from hyperpeft.cost import Meter
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode

FROM_DESCRIPTION = Target("one adapter from a description / backbone forward", goal=1.0, bound=1.5)
AT_ONCE = Target("hypernetwork alone, one by one / at once", goal=20.0, bound=1.3, at_least=True)
MEMORY = Target("peak bytes an adapter / bytes of the adapter", goal=4.0, bound=8.0)


def new_task(episode: Episode, number: int) -> Episode:
    """The same task in words that were never embedded."""
    return episode.with_descriptions([f"{text} (task {number})" for text in episode.descriptions])


def single(generator: Generator, episode: Episode) -> dict[str, Work]:
    """One adapter, described, or shown too; beside it one forward of the backbone over the same examples."""
    backbone = generator.backbone
    if not isinstance(backbone, Encoder):
        raise ValueError(f"backbone {backbone.name} is no encoder: this benchmark compares with an encoder's forward.")
    texts = [example.input for example in episode.support]
    inputs = backbone.inputs([[]], [texts], len(texts)).to(backbone.device)
    number = count()

    @torch.no_grad()
    def forward() -> None:
        backbone.row_features(inputs)

    def described() -> None:
        with generator.text_encoder.uncached():
            generator.generate([replace(new_task(episode, next(number)), support=())])

    def shown() -> None:
        with generator.text_encoder.uncached():
            generator.generate([new_task(episode, next(number))])

    return {"backbone forward": forward, "from a description": described, "from description and examples": shown}


def many(generator: Generator, episodes: Sequence[Episode], alone: int) -> dict[str, Work]:
    """All at once; `alone` of them one by one. With embeddings, and from known task embeddings."""
    with torch.no_grad():
        z = generator.encoder(episodes)

    def run(function: Work) -> Work:
        def work() -> None:
            with torch.no_grad(), generator.text_encoder.uncached():
                function()

        return work

    return {
        "at once": run(lambda: generator.generate(episodes)),
        "one by one": run(lambda: [generator.generate([episode]) for episode in episodes[:alone]]),
        "hypernetwork alone, at once": run(lambda: generator.hypernetwork(z)),
        "hypernetwork alone, one by one": run(lambda: [generator.hypernetwork(z[i : i + 1]) for i in range(alone)]),
    }


def peaks(generator: Generator, d_task: int, tasks: Sequence[int]) -> dict[int, float]:
    """Peak bytes above the beginning of one call for so many tasks, in bytes of the adapters that it makes."""
    found = {}
    for number in tasks:
        z = torch.randn(number, d_task)
        with torch.no_grad(), Meter() as meter:
            made = generator.hypernetwork(z)
        if meter.peak_bytes is None:
            raise RuntimeError("this system does not tell a process its peak memory (/proc/self/clear_refs).")
        found[number] = meter.peak_bytes / (4 * made.count * number)
        del made
    return found


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, repeats=5)
    made.add_argument("--generator", default=None, help="a folder; default: the one in the package")
    made.add_argument("--examples", type=int, default=16)
    made.add_argument("--many", type=int, default=256)
    made.add_argument("--alone", type=int, default=16, help="how many of them are made one by one")
    options = parsed(made, argv)
    generator = load_generator(options.generator)
    episode = everyday(1, options.examples)[0]
    seconds = interleaved(single(generator, episode), options.repeats)
    base = seconds["backbone forward"]
    rows = [(name, spread(values, base)) for name, values in seconds.items()]
    show(f"one adapter, {options.examples} examples", ("work", "ratio to the backbone's forward"), rows)

    described = [replace(new_task(episode, number), support=()) for number in range(options.many)]
    bulk = interleaved(many(generator, described, options.alone), options.repeats)
    speed_up = {
        prefix: spread(bulk[f"{prefix}one by one"], bulk[f"{prefix}at once"], factor=options.many / options.alone)
        for prefix in ("", "hypernetwork alone, ")
    }
    names = ("embeddings included", "hypernetwork alone")
    show(
        f"{options.many} adapters",
        ("work", "one by one / at once, an adapter"),
        list(zip(names, speed_up.values(), strict=True)),
    )

    tasks = sorted({max(1, options.many // 4), max(1, options.many // 2), options.many})
    memory = peaks(generator, generator.encoder.d_task, tasks)
    rows = [(number, f"{value:.2f}") for number, value in memory.items()]
    show("memory", ("tasks", "peak bytes / bytes of the adapters"), rows)
    return verdict(
        [
            (FROM_DESCRIPTION, spread(seconds["from a description"], base).median),
            (AT_ONCE, speed_up["hypernetwork alone, "].median),
            (MEMORY, max(memory.values())),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
