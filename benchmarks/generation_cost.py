"""What generating adapters costs: against one forward of the backbone, many at once against one by one, and in memory.

python benchmarks/generation_cost.py                    # the generator in the package; 256 adapters
python benchmarks/generation_cost.py --generator FOLDER --many 64 --repeats 15

Each adapter's description, labels and examples are new texts, embedded as `hyperpeft.generate` does. `hypernetwork
alone` is what is left when they are known. Ratios are medians of interleaved repetitions with quartiles.
Exits with 1 if a ratio is worse than its regression bound.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from itertools import count

import torch
from measure import Target, Work, everyday, interleaved, parsed, parser, show, spread, verdict

from hyperpeft.backbones import Encoder
from hyperpeft.cost import Meter
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode, Example

FROM_DESCRIPTION = Target("one adapter from a description / backbone forward", goal=1.0)
AT_ONCE = Target("hypernetwork alone, one by one / at once", goal=20.0, recorded=1.2, at_least=True)
MEMORY = Target("peak bytes an adapter / bytes of the adapter", goal=4.0)


def new_task(episode: Episode, number: int) -> Episode:
    """The same task in texts that were never embedded."""

    def new(text: str) -> str:
        return f"{text} {number}"

    return replace(
        episode,
        descriptions=tuple(map(new, episode.descriptions)),
        support=tuple(Example(new(example.input), new(example.output)) for example in episode.support),
        labels=tuple(map(new, episode.labels)),
    )


def described(episode: Episode, number: int) -> Episode:
    """A new task without examples."""
    return replace(new_task(episode, number), support=())


def single(generator: Generator, episode: Episode, numbers: Iterator[int]) -> dict[str, Work]:
    """One adapter, described, or shown too; beside it one forward of the backbone over the same examples."""
    backbone = generator.backbone
    if not isinstance(backbone, Encoder):
        raise ValueError(f"backbone {backbone.name} is no encoder: this benchmark compares with an encoder's forward.")
    texts = [example.input for example in episode.support]
    inputs = backbone.inputs([[]], [texts], len(texts)).to(backbone.device)

    @torch.no_grad()
    def forward() -> None:
        backbone.row_features(inputs)

    return {
        "backbone forward": forward,
        "from a description": lambda: generator.generate([described(episode, next(numbers))]),
        "from description and examples": lambda: generator.generate([new_task(episode, next(numbers))]),
    }


def many(generator: Generator, episode: Episode, options: Namespace, numbers: Iterator[int]) -> dict[str, Work]:
    """Of the hypernetwork alone all at once and `alone` one by one; from new descriptions `alone` of them both ways.

    `copy`: reading as many numbers as all the adapters have and writing them into new memory, the floor in bytes.
    """
    z = torch.randn(options.many, generator.encoder.d_task)
    numbers_made = torch.randn(options.many, generator.hypernetwork.shared_weights(1).count)

    def new(count: int) -> list[Episode]:
        return [described(episode, next(numbers)) for _ in range(count)]

    @torch.no_grad()
    def alone() -> None:
        for index in range(options.alone):
            generator.hypernetwork(z[index : index + 1])

    return {
        "at once": lambda: generator.generate(new(options.alone)),
        "one by one": lambda: [generator.generate([one]) for one in new(options.alone)],
        "hypernetwork alone, at once": torch.no_grad()(lambda: generator.hypernetwork(z)),
        "hypernetwork alone, one by one": alone,
        "copy": numbers_made.clone,
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
    made.add_argument("--generator", default=str(files("hyperpeft") / "generators" / "default"), help="a folder")
    made.add_argument("--examples", type=int, default=16)
    made.add_argument("--many", type=int, default=256)
    made.add_argument("--alone", type=int, default=16, help="how many of them are made one by one")
    options = parsed(made, argv)
    generator = Generator.from_pretrained(options.generator)
    with generator.text_encoder.together(keep=False):
        return verdict(measured(generator, options))


def measured(generator: Generator, options: Namespace) -> list[tuple[Target, float]]:
    numbers, episode = count(), everyday(1, options.examples)[0]
    seconds = interleaved(single(generator, episode, numbers), options.repeats)
    base = seconds["backbone forward"]
    rows = [(name, spread(values, base)) for name, values in seconds.items()]
    show(f"one adapter, {options.examples} examples", ("work", "ratio to the backbone's forward"), rows)

    bulk = interleaved(many(generator, episode, options, numbers), options.repeats)
    speed_up = {
        f"{options.alone} adapters, embeddings included": spread(bulk["one by one"], bulk["at once"]),
        f"{options.many} adapters, hypernetwork alone": spread(
            bulk["hypernetwork alone, one by one"],
            bulk["hypernetwork alone, at once"],
            factor=options.many / options.alone,
        ),
    }
    show("many adapters", ("work", "one by one / at once, an adapter"), list(speed_up.items()))
    floor = spread(bulk["hypernetwork alone, at once"], bulk["copy"])
    show("floor in bytes", ("work", "ratio to a copy"), [(f"{options.many} adapters, hypernetwork alone", floor)])

    tasks = sorted({max(1, options.many // 4), max(1, options.many // 2), options.many})
    memory = peaks(generator, generator.encoder.d_task, tasks)
    rows = [(number, f"{value:.2f}") for number, value in memory.items()]
    show("memory", ("tasks", "peak bytes / bytes of the adapters"), rows)
    return [
        (FROM_DESCRIPTION, spread(seconds["from a description"], base).median),
        (AT_ONCE, speed_up[f"{options.many} adapters, hypernetwork alone"].median),
        (MEMORY, max(memory.values())),
    ]


if __name__ == "__main__":
    sys.exit(main())
