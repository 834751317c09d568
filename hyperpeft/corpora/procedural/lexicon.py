"""What words mean and how they inflect: one table a step."""

from hyperpeft.corpora.procedural.primitive import TEXT, Primitive
from hyperpeft.corpora.procedural.tables import TABLES


def _step(name: str, takes: str, gives: str, orders: tuple[str, ...], results: tuple[str, ...]) -> Primitive:
    table = TABLES[name]
    return Primitive(name, takes, gives, lambda text: table.get(text, ""), orders, results, inputs=name)


LEXICON = (
    _step(
        "opposite",
        "adjective",
        "adjective",
        (
            "give the opposite of {x}",
            "replace {x} with its antonym",
            "name the adjective that means the contrary of {x}",
        ),
        ("the opposite of {x}", "the antonym of {x}"),
    ),
    _step(
        "comparative",
        "adjective",
        "word",
        (
            "put {x} into the comparative",
            "turn {x} into its comparative, as big into bigger",
            'write {x} as it stands before "than", like bigger for big',
        ),
        ("the comparative form of {x}", 'the form used before "than", like bigger for big, of {x}'),
    ),
    _step(
        "superlative",
        "adjective",
        "word",
        (
            "put {x} into the superlative",
            "turn {x} into its superlative, as big into biggest",
            "raise {x} to the highest degree, like biggest for big",
        ),
        ("the superlative form of {x}", "the form for the highest degree, like biggest for big, of {x}"),
    ),
    _step(
        "adverb",
        "adjective",
        "word",
        (
            "turn {x} into an adverb",
            "give the adverb that belongs to {x}",
            "make an adverb, like quickly from quick, out of {x}",
        ),
        ("the adverb made from {x}", "the adverb form of {x}"),
    ),
    _step(
        "quality",
        "adjective",
        "noun",
        (
            "name the quality that {x} describes, as a noun",
            "turn {x} into an abstract noun",
            "make a noun, like strength from strong, out of {x}",
        ),
        ("the abstract noun for {x}", "the noun, like strength for strong, that belongs to {x}"),
    ),
    _step(
        "plural",
        "noun",
        "plural noun",
        ("put {x} into the plural", "write {x} as it is used for more than one", "turn {x} from singular into plural"),
        ("the plural of {x}", "the plural form of {x}"),
    ),
    _step(
        "singular",
        "plural noun",
        "noun",
        ("put {x} into the singular", "write {x} as it is used for just one", "turn {x} from plural into singular"),
        ("the singular of {x}", "the singular form of {x}"),
    ),
    _step(
        "article",
        "noun",
        TEXT,
        (
            'put "a" or "an", whichever is right, before {x}',
            "write {x} with the indefinite article",
            'add the article "a" or "an" in front of {x}',
        ),
        ('the form with "a" or "an" in front of {x}', "the indefinite article followed by {x}"),
    ),
    _step(
        "female",
        "noun",
        "noun",
        (
            "name the female counterpart of {x}",
            "say what the female counterpart of {x} is called",
            "turn {x} into its feminine partner word",
        ),
        ("the female counterpart of {x}", "the feminine word, like queen for king, for {x}"),
    ),
    _step(
        "spanish",
        "noun",
        "word",
        ("translate {x} from English into Spanish", "say {x} in Spanish", "give the Spanish word for {x}"),
        ("the Spanish word for {x}", "the Spanish translation of {x}"),
    ),
    _step(
        "french",
        "noun",
        "word",
        ("translate {x} from English into French", "say {x} in French", "give the French word for {x}"),
        ("the French word for {x}", "the French translation of {x}"),
    ),
    _step(
        "colour",
        "thing",
        "word",
        (
            "name the typical colour of {x}",
            "say which colour {x} usually has",
            "tell the colour that one expects of {x}",
        ),
        ("the typical colour of {x}", "the usual colour of {x}"),
    ),
    _step(
        "category",
        "thing",
        "word",
        (
            "name the general category of {x}, such as fruit, animal or tool",
            "say what kind of thing {x} is (fruit, tool, vehicle, ...)",
            "file {x} under its kind: fruit, vegetable, animal, tool, furniture, clothing, metal and so on",
        ),
        ("the general category (fruit, tool, tree, ...) of {x}", "the kind (fruit, animal, sport, ...) of {x}"),
    ),
    _step(
        "past_tense",
        "verb",
        "word",
        (
            "put {x} into the past tense",
            "write {x} as it is said of yesterday, like went for go",
            "turn {x} into the simple past",
        ),
        ("the past tense of {x}", "the simple past form of {x}"),
    ),
    _step(
        "ing_form",
        "verb",
        "word",
        (
            "put {x} into the -ing form",
            "turn {x} into the present participle",
            'write {x} as it stands after "is", like going for go',
        ),
        ("the -ing form of {x}", "the present participle of {x}"),
    ),
    _step(
        "third_person",
        "verb",
        "word",
        (
            "put {x} into the form that goes with he or she",
            "write {x} in the third person singular",
            "conjugate {x} in the present tense for he or she",
        ),
        ("the third person singular of {x}", "the he-or-she form, like goes for go, of {x}"),
    ),
    _step(
        "doer",
        "verb",
        "noun",
        (
            "name the person who does what {x} says",
            "turn {x} into the noun for one who does it",
            "make an agent noun, like singer from sing, out of {x}",
        ),
        ("the agent noun (like singer for sing) of {x}", "the word for a person who does the action {x}"),
    ),
    _step(
        "sound",
        "animal",
        "word",
        ("name the sound that {x} makes", "say which noise {x} makes", "give the usual word for the cry of {x}"),
        ("the sound made by {x}", "the noise, like moo for cow, of {x}"),
    ),
    _step(
        "young",
        "animal",
        "noun",
        ("name the young of {x}", "say what the baby of {x} is called", "give the word for the offspring of {x}"),
        ("the name of the young of {x}", "the word, like puppy for dog, for the baby of {x}"),
    ),
    _step(
        "animal_class",
        "animal",
        "word",
        (
            "say whether {x} is a mammal, bird, fish, insect, reptile or amphibian",
            "name the class of animals {x} belongs to (mammal, bird, fish, ...)",
            "classify {x} as mammal, bird, fish, reptile, amphibian or insect",
        ),
        ("the animal class (mammal, bird, insect, ...) of {x}", "the zoological group (mammal, fish, ...) of {x}"),
    ),
    _step(
        "capital",
        "country",
        "city",
        ("name the capital of {x}", "say which city is the capital of {x}", "give the capital city of {x}"),
        ("the capital of {x}", "the capital city of {x}"),
    ),
    _step(
        "country_of_capital",
        "city",
        "country",
        (
            "name the country whose capital is {x}",
            "say which country has {x} as its capital",
            "tell which country is governed from {x}",
        ),
        ("the country whose capital is {x}", "the country that has its capital in {x}"),
    ),
    _step(
        "continent",
        "country",
        "word",
        (
            "name the continent (europe, africa, asia or america) of {x}",
            "say whether {x} is in europe, africa, asia or america",
            "tell the continent (north and south america count as one) of {x}",
        ),
        (
            "the continent (europe, africa, asia or america) of {x}",
            "the part of the world (north and south america as one) of {x}",
        ),
    ),
    _step(
        "demonym",
        "country",
        "word",
        (
            "give the adjective of nationality for {x}",
            "say what people from {x} are called, as an adjective",
            "turn {x} into its nationality, as mexico into mexican",
        ),
        ("the adjective of nationality for {x}", "the nationality, like mexican for mexico, of {x}"),
    ),
    _step(
        "language",
        "country",
        "word",
        (
            "name the main language of {x}",
            "say which language most people speak in {x}",
            "tell the official language of {x}",
        ),
        ("the main language of {x}", "the language spoken in {x}"),
    ),
    _step(
        "symbol",
        "chemical element",
        "word",
        (
            "give the chemical symbol of {x} in small letters",
            "write the lower-case symbol that the periodic table has for {x}",
            "abbreviate {x} as chemists do, in lower case",
        ),
        ("the lower-case chemical symbol of {x}", "the periodic table abbreviation, in small letters, of {x}"),
    ),
    _step(
        "atomic_number",
        "chemical element",
        "number",
        (
            "give the atomic number of {x}",
            "say how many protons an atom of {x} has",
            "tell the place of {x} in the periodic table",
        ),
        ("the atomic number of {x}", "the number of protons in an atom of {x}"),
    ),
    _step(
        "code_word",
        "letter",
        "word",
        (
            "give the radio alphabet word (alpha, bravo, ...) for {x}",
            "spell {x} as pilots do",
            "say the NATO code word for {x}",
        ),
        ("the radio alphabet word for {x}", "the NATO code word of {x}"),
    ),
)
