"""One step of a procedural task: a text function with its types and its wordings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

TEXT = "text"
"""The type that no step takes: what only ends a task."""

PLURALS: Mapping[str, str] = MappingProxyType(
    {
        "word": "words",
        "noun": "nouns",
        "plural noun": "plural nouns",
        "adjective": "adjectives",
        "verb": "verbs",
        "animal": "animals",
        "country": "countries",
        "city": "cities",
        "thing": "things",
        "chemical element": "chemical elements",
        "number": "numbers",
        "letter": "letters",
    }
)
"""Type of one element -> type of a list of such elements, written with spaces between them."""

NO_WORDS = ("number", "letter", TEXT)


@dataclass(frozen=True, slots=True)
class Primitive:
    """A named function from text to text, the types of its ends, and several ways to say it.

    `orders` are imperatives and `results` noun phrases; each holds one `{x}`, which stands for what is acted on, and
    results end in it so that they nest. `function` gives the empty string where it is undefined.
    `keeps`: every element of the output is an element of the input, so nouns stay nouns.
    `inputs` names the source to draw inputs from where it is not the one of the type.
    """

    name: str
    takes: str
    gives: str
    function: Callable[[str], str]
    orders: tuple[str, ...]
    results: tuple[str, ...]
    keeps: bool = False
    inputs: str = ""


def is_list(kind: str) -> bool:
    """Whether a type is a list of elements."""
    return kind in PLURALS.values()


def element(kind: str) -> str:
    """The type of the elements of a list type; any other type itself."""
    return next((one for one, many in PLURALS.items() if many == kind), kind)


def is_word(kind: str) -> bool:
    """Whether a type of element can be taken where any word will do."""
    return kind in PLURALS and kind not in NO_WORDS


def liftable(primitive: Primitive) -> bool:
    """Whether `each` applies: one word or number in, one element out."""
    return all(kind in PLURALS for kind in (primitive.takes, primitive.gives)) and primitive.takes != "letter"


def each(primitive: Primitive) -> Primitive:
    """The primitive applied to every element of a list; what comes after "each" in the wordings is the element."""
    place = f"each {primitive.takes} of {{x}}"
    return Primitive(
        name=f"each_{primitive.name}",
        takes=PLURALS[primitive.takes],
        gives=TEXT if primitive.gives == "letter" else PLURALS[primitive.gives],
        function=_to_each(primitive.function),
        orders=tuple(order.format(x=place) for order in primitive.orders),
        results=tuple(result.format(x=place) for result in primitive.results),
        inputs=primitive.inputs,
    )


def _to_each(function: Callable[[str], str]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        outputs = [function(item) for item in text.split()]
        return " ".join(outputs) if all(outputs) else ""

    return apply
