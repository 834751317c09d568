"""What words mean, as far as the lexical steps know it: one table a step, from input to output."""

from collections.abc import Mapping
from types import MappingProxyType


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in text.split())


def _words(text: str) -> list[str]:
    return text.split()


def _swapped(table: Mapping[str, str]) -> dict[str, str]:
    return {output: word for word, output in table.items()}


def _with_s(word: str) -> str:
    """The word with the ending s, es or ies."""
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh", "z", "o")) else "s")


def _graded(adjective: str, ending: str) -> str:
    if adjective in DOUBLED:
        return adjective + adjective[-1] + ending
    if adjective.endswith("y"):
        return adjective[:-1] + "i" + ending
    return adjective + (ending[1:] if adjective.endswith("e") else ending)


def _ing(verb: str) -> str:
    if verb in DOUBLED:
        return verb + verb[-1] + "ing"
    return (verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb) + "ing"


def _article(noun: str) -> str:
    silent_h, sounded_y = noun.startswith("heir"), noun == "ewe"
    return "an" if silent_h or (noun[0] in "aeiou" and not sounded_y) else "a"


def _adverb(adjective: str) -> str:
    if adjective.endswith("y"):
        return adjective[:-1] + "ily"
    return (adjective[:-2] if adjective.endswith("le") else adjective) + "ly"


DOUBLED = (
    "big",
    "hot",
    "wet",
    "sad",
    "thin",
    "fat",
    "run",
    "swim",
    "begin",
    "win",
    "sit",
    "stop",
    "plan",
    "clap",
    "dig",
)

OPPOSITES = _pairs("""
    big:small hot:cold old:young fast:slow tall:short high:low rich:poor strong:weak heavy:light hard:soft wet:dry
    full:empty clean:dirty early:late happy:sad loud:quiet near:far open:closed thick:thin wide:narrow good:bad
    true:false deep:shallow smooth:rough sharp:blunt sweet:sour brave:cowardly cheap:expensive easy:difficult
    safe:dangerous tight:loose alive:dead awake:asleep right:wrong first:last public:private male:female modern:ancient
    polite:rude fresh:stale guilty:innocent internal:external simple:complex temporary:permanent visible:invisible
    major:minor positive:negative even:odd warm:cool northern:southern eastern:western upper:lower inner:outer
""")
GRADED = _words("""
    big small hot cold old young fast slow tall short high low rich poor strong weak heavy light hard soft wet dry full
    clean dirty early late happy sad loud quiet near thick thin wide narrow deep smooth rough sharp sweet sour brave
    cheap easy safe tight loose warm cool bright dark funny lucky busy calm nice large long kind proud noisy angry
    hungry fat pretty
""")
ADVERBIAL = _words("""
    quick slow happy sad loud quiet brave cheap easy safe tight loose warm bright lucky calm nice kind proud noisy angry
    hungry deep smooth rough sharp sweet polite rude simple gentle careful quiet soft sudden clear secret honest wise
    foolish eager lazy strange perfect final usual bad strong weak poor rich heavy light neat bold
""")
QUALITIES = _pairs("""
    strong:strength long:length wide:width deep:depth warm:warmth true:truth happy:happiness sad:sadness kind:kindness
    dark:darkness weak:weakness free:freedom wise:wisdom brave:bravery young:youth hot:heat high:height proud:pride
    angry:anger hungry:hunger thirsty:thirst honest:honesty cruel:cruelty safe:safety poor:poverty beautiful:beauty
    dead:death important:importance patient:patience silent:silence different:difference intelligent:intelligence
    violent:violence lazy:laziness lonely:loneliness ill:illness bitter:bitterness jealous:jealousy loyal:loyalty
    curious:curiosity generous:generosity possible:possibility real:reality popular:popularity simple:simplicity
    rude:rudeness polite:politeness bold:boldness soft:softness sweet:sweetness
""")

IRREGULAR_PLURALS = _pairs("""
    knife:knives leaf:leaves wife:wives life:lives wolf:wolves half:halves shelf:shelves calf:calves thief:thieves
    loaf:loaves child:children man:men woman:women foot:feet tooth:teeth goose:geese mouse:mice person:people ox:oxen
    louse:lice photo:photos piano:pianos policeman:policemen policewoman:policewomen
""")
NOUNS = _words("""
    cat dog car book tree house box bus watch brush dish glass class baby city lady party story country potato tomato
    hero key boy day toy monkey apple egg orange island uncle aunt elephant owl umbrella engine onion oven arm ear eye
    answer idea office river stone table chair window door garden bridge bottle church beach peach fox tax berry cherry
    fly spy army lamp shoe hand bird ship town road king queen ring song
""")
DOERS = _pairs("""
    teach:teacher write:writer sing:singer dance:dancer drive:driver paint:painter build:builder farm:farmer
    swim:swimmer run:runner bake:baker hunt:hunter play:player win:winner lose:loser read:reader speak:speaker
    drum:drummer act:actor sail:sailor invent:inventor visit:visitor edit:editor direct:director govern:governor
    print:printer think:thinker rule:ruler buy:buyer sell:seller own:owner help:helper work:worker lead:leader
    listen:listener climb:climber fight:fighter ride:rider rob:robber jump:jumper walk:walker trade:trader
    dream:dreamer lie:liar beg:beggar translate:translator collect:collector conduct:conductor create:creator
    instruct:instructor sculpt:sculptor compete:competitor narrate:narrator survive:survivor
""")
FEMALES = _pairs("""
    king:queen man:woman boy:girl father:mother brother:sister son:daughter uncle:aunt nephew:niece husband:wife
    prince:princess actor:actress waiter:waitress hero:heroine lord:lady duke:duchess emperor:empress god:goddess
    host:hostess monk:nun wizard:witch grandfather:grandmother bull:cow rooster:hen stallion:mare lion:lioness
    tiger:tigress ram:ewe groom:bride steward:stewardess heir:heiress count:countess baron:baroness stag:doe drake:duck
    boar:sow widower:widow grandson:granddaughter stepfather:stepmother landlord:landlady policeman:policewoman
""")
SPANISH = _pairs("""
    cat:gato dog:perro house:casa book:libro water:agua bread:pan milk:leche sun:sol moon:luna fire:fuego night:noche
    hand:mano head:cabeza friend:amigo school:escuela table:mesa door:puerta window:ventana street:calle city:ciudad
    king:rey queen:reina horse:caballo cow:vaca flower:flor apple:manzana cheese:queso wine:vino egg:huevo meat:carne
    fruit:fruta rice:arroz salt:sal earth:tierra sky:cielo sea:mar rain:lluvia snow:nieve wind:viento star:estrella
    world:mundo man:hombre woman:mujer brother:hermano sister:hermana father:padre mother:madre knife:cuchillo
    spoon:cuchara money:dinero paper:papel shirt:camisa shoe:zapato bed:cama kitchen:cocina mouth:boca nose:nariz
    bone:hueso blood:sangre war:guerra peace:paz week:semana month:mes hour:hora
""")
FRENCH = _pairs("""
    cat:chat dog:chien house:maison book:livre water:eau bread:pain milk:lait tree:arbre sun:soleil moon:lune fire:feu
    night:nuit day:jour hand:main friend:ami door:porte street:rue city:ville king:roi queen:reine horse:cheval
    cow:vache bird:oiseau fish:poisson flower:fleur apple:pomme cheese:fromage wine:vin egg:oeuf meat:viande rice:riz
    salt:sel sugar:sucre heart:coeur earth:terre sky:ciel sea:mer mountain:montagne rain:pluie snow:neige wind:vent
    world:monde man:homme woman:femme child:enfant sister:soeur knife:couteau money:argent paper:papier shirt:chemise
    shoe:chaussure bed:lit kitchen:cuisine mouth:bouche nose:nez blood:sang war:guerre peace:paix week:semaine
    hour:heure wolf:loup rabbit:lapin sheep:mouton duck:canard bridge:pont
""")
COLOURS = _pairs("""
    banana:yellow snow:white coal:black grass:green blood:red lemon:yellow tomato:red carrot:orange pumpkin:orange
    milk:white raven:black flamingo:pink frog:green emerald:green ruby:red sapphire:blue chocolate:brown cucumber:green
    spinach:green salt:white swan:white strawberry:red lime:green mud:brown pea:green tar:black canary:yellow
    chick:yellow corn:yellow eggplant:purple plum:purple lavender:purple broccoli:green soot:black ivory:white
    cotton:white sunflower:yellow chestnut:brown coffee:brown tangerine:orange ocean:blue sugar:white lettuce:green
    blueberry:blue crow:black panther:black ketchup:red apricot:orange cactus:green bone:white mustard:yellow
""")
CATEGORIES = _pairs("""
    apple:fruit banana:fruit pear:fruit mango:fruit cherry:fruit carrot:vegetable cabbage:vegetable spinach:vegetable
    onion:vegetable broccoli:vegetable dog:animal horse:animal tiger:animal rabbit:animal elephant:animal hammer:tool
    saw:tool wrench:tool screwdriver:tool drill:tool chair:furniture table:furniture sofa:furniture wardrobe:furniture
    desk:furniture shirt:clothing trousers:clothing jacket:clothing skirt:clothing sweater:clothing violin:instrument
    piano:instrument flute:instrument trumpet:instrument guitar:instrument car:vehicle bus:vehicle truck:vehicle
    bicycle:vehicle tram:vehicle tulip:flower daisy:flower orchid:flower lily:flower daffodil:flower oak:tree pine:tree
    birch:tree willow:tree maple:tree copper:metal iron:metal zinc:metal aluminium:metal tin:metal soccer:sport
    tennis:sport hockey:sport rugby:sport basketball:sport
""")

PASTS = _pairs("""
    go:went see:saw take:took give:gave come:came eat:ate run:ran write:wrote drive:drove sing:sang swim:swam
    begin:began drink:drank break:broke speak:spoke steal:stole fall:fell feel:felt keep:kept sleep:slept leave:left
    meet:met send:sent spend:spent build:built buy:bought bring:brought think:thought teach:taught catch:caught
    fight:fought find:found hold:held stand:stood tell:told sell:sold make:made hear:heard know:knew grow:grew
    throw:threw fly:flew draw:drew win:won sit:sat lose:lost pay:paid say:said walk:walked jump:jumped play:played
    stop:stopped carry:carried cry:cried plan:planned hope:hoped dance:danced cook:cooked paint:painted wash:washed
    fix:fixed try:tried study:studied clap:clapped love:loved open:opened call:called dig:dug
""")

SOUNDS = _pairs("""
    cat:meow dog:bark cow:moo sheep:baa goat:bleat horse:neigh pig:oink duck:quack hen:cluck rooster:crow lion:roar
    wolf:howl snake:hiss bee:buzz owl:hoot frog:croak mouse:squeak donkey:bray elephant:trumpet turkey:gobble
    pigeon:coo raven:caw sparrow:chirp cricket:chirp hyena:laugh bear:growl monkey:chatter goose:honk parrot:squawk
    dolphin:click tiger:roar mosquito:buzz
""")
YOUNG = _pairs("""
    cat:kitten dog:puppy cow:calf horse:foal sheep:lamb goat:kid pig:piglet duck:duckling hen:chick lion:cub bear:cub
    deer:fawn swan:cygnet goose:gosling kangaroo:joey frog:tadpole owl:owlet eagle:eaglet whale:calf elephant:calf
    tiger:cub seal:pup spider:spiderling butterfly:caterpillar eel:elver hare:leveret turkey:poult pigeon:squab
    fly:maggot giraffe:calf zebra:foal donkey:foal koala:joey dolphin:calf panda:cub camel:calf leopard:cub
""")
CLASSES = _pairs("""
    cat:mammal dog:mammal cow:mammal horse:mammal sheep:mammal pig:mammal lion:mammal bear:mammal whale:mammal
    dolphin:mammal bat:mammal mouse:mammal duck:bird hen:bird swan:bird goose:bird owl:bird eagle:bird pigeon:bird
    sparrow:bird parrot:bird penguin:bird ostrich:bird salmon:fish trout:fish tuna:fish shark:fish eel:fish carp:fish
    cod:fish herring:fish bee:insect ant:insect butterfly:insect fly:insect mosquito:insect beetle:insect wasp:insect
    cricket:insect moth:insect snake:reptile lizard:reptile crocodile:reptile turtle:reptile tortoise:reptile
    gecko:reptile iguana:reptile frog:amphibian toad:amphibian newt:amphibian salamander:amphibian
""")

CAPITALS = _pairs("""
    france:paris germany:berlin spain:madrid italy:rome england:london portugal:lisbon greece:athens austria:vienna
    hungary:budapest poland:warsaw russia:moscow norway:oslo sweden:stockholm finland:helsinki denmark:copenhagen
    ireland:dublin scotland:edinburgh belgium:brussels switzerland:bern ukraine:kyiv turkey:ankara egypt:cairo
    morocco:rabat kenya:nairobi nigeria:abuja ghana:accra senegal:dakar algeria:algiers tunisia:tunis china:beijing
    japan:tokyo thailand:bangkok vietnam:hanoi philippines:manila nepal:kathmandu iran:tehran iraq:baghdad
    syria:damascus lebanon:beirut jordan:amman qatar:doha pakistan:islamabad afghanistan:kabul cuba:havana
    canada:ottawa peru:lima chile:santiago colombia:bogota venezuela:caracas ecuador:quito uruguay:montevideo
    brazil:brasilia australia:canberra bulgaria:sofia romania:bucharest serbia:belgrade croatia:zagreb
    slovenia:ljubljana slovakia:bratislava latvia:riga estonia:tallinn lithuania:vilnius iceland:reykjavik
    zambia:lusaka zimbabwe:harare uganda:kampala angola:luanda rwanda:kigali mali:bamako jamaica:kingston
""")
CONTINENTS = {
    "europe": """france germany spain italy england portugal greece austria hungary poland norway sweden finland denmark
        ireland belgium switzerland ukraine bulgaria romania""",
    "africa": "morocco kenya nigeria ghana senegal algeria tunisia zambia zimbabwe uganda angola rwanda mali",
    "asia": "china japan thailand vietnam nepal iran iraq syria lebanon jordan qatar pakistan afghanistan philippines",
    "america": "cuba canada peru chile colombia venezuela ecuador uruguay brazil jamaica mexico argentina bolivia",
}
DEMONYMS = _pairs("""
    france:french germany:german spain:spanish italy:italian england:english portugal:portuguese greece:greek
    austria:austrian hungary:hungarian poland:polish russia:russian norway:norwegian sweden:swedish finland:finnish
    denmark:danish ireland:irish scotland:scottish belgium:belgian switzerland:swiss ukraine:ukrainian turkey:turkish
    egypt:egyptian morocco:moroccan kenya:kenyan nigeria:nigerian ghana:ghanaian senegal:senegalese algeria:algerian
    tunisia:tunisian china:chinese japan:japanese thailand:thai vietnam:vietnamese nepal:nepalese iran:iranian
    iraq:iraqi syria:syrian lebanon:lebanese jordan:jordanian pakistan:pakistani cuba:cuban canada:canadian
    peru:peruvian chile:chilean colombia:colombian venezuela:venezuelan uruguay:uruguayan brazil:brazilian
    australia:australian bulgaria:bulgarian romania:romanian serbia:serbian croatia:croatian iceland:icelandic
    mexico:mexican argentina:argentinian jamaica:jamaican
""")
LANGUAGES = _pairs("""
    france:french germany:german austria:german spain:spanish mexico:spanish argentina:spanish chile:spanish
    cuba:spanish colombia:spanish uruguay:spanish venezuela:spanish ecuador:spanish brazil:portuguese
    portugal:portuguese angola:portuguese italy:italian greece:greek england:english australia:english jamaica:english
    egypt:arabic syria:arabic jordan:arabic qatar:arabic lebanon:arabic tunisia:arabic japan:japanese
    china:chinese russia:russian poland:polish hungary:hungarian sweden:swedish norway:norwegian denmark:danish
    turkey:turkish iran:persian thailand:thai vietnam:vietnamese ukraine:ukrainian romania:romanian bulgaria:bulgarian
    croatia:croatian serbia:serbian iceland:icelandic nepal:nepali latvia:latvian estonia:estonian
    lithuania:lithuanian slovakia:slovak
""")

SYMBOLS = _pairs("""
    hydrogen:h helium:he lithium:li carbon:c nitrogen:n oxygen:o fluorine:f neon:ne sodium:na magnesium:mg
    aluminium:al silicon:si phosphorus:p sulfur:s chlorine:cl argon:ar potassium:k calcium:ca titanium:ti chromium:cr
    manganese:mn iron:fe cobalt:co nickel:ni copper:cu zinc:zn arsenic:as bromine:br silver:ag tin:sn iodine:i gold:au
    mercury:hg lead:pb uranium:u platinum:pt tungsten:w krypton:kr xenon:xe radium:ra barium:ba
""")
ATOMIC_NUMBERS = _pairs("""
    hydrogen:1 helium:2 lithium:3 carbon:6 nitrogen:7 oxygen:8 fluorine:9 neon:10 sodium:11 magnesium:12 aluminium:13
    silicon:14 phosphorus:15 sulfur:16 chlorine:17 argon:18 potassium:19 calcium:20 titanium:22 chromium:24
    manganese:25 iron:26 cobalt:27 nickel:28 copper:29 zinc:30 arsenic:33 bromine:35 krypton:36 silver:47 tin:50
    iodine:53 xenon:54 barium:56 tungsten:74 platinum:78 gold:79 mercury:80 lead:82 radium:88 uranium:92
""")
CODE_WORDS = {
    word[0]: word
    for word in _words("""
        alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo
        sierra tango uniform victor whiskey xray yankee zulu
    """)
}

PLURALS = {
    noun: IRREGULAR_PLURALS.get(noun, _with_s(noun))
    for noun in [*NOUNS, *IRREGULAR_PLURALS, *DOERS.values(), *FEMALES.values(), *YOUNG.values()]
}

TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "opposite": OPPOSITES | _swapped(OPPOSITES),
        "comparative": {word: _graded(word, "er") for word in GRADED} | _pairs("good:better bad:worse"),
        "superlative": {word: _graded(word, "est") for word in GRADED} | _pairs("good:best bad:worst"),
        "adverb": {word: _adverb(word) for word in ADVERBIAL} | {"good": "well"},
        "quality": QUALITIES,
        "plural": PLURALS,
        "singular": _swapped(PLURALS),
        "article": {noun: f"{_article(noun)} {noun}" for noun in PLURALS},
        "female": FEMALES,
        "spanish": SPANISH,
        "french": FRENCH,
        "colour": COLOURS,
        "category": CATEGORIES,
        "past_tense": PASTS,
        "ing_form": {verb: _ing(verb) for verb in PASTS},
        "third_person": {verb: _with_s(verb) for verb in PASTS},
        "doer": DOERS,
        "sound": SOUNDS,
        "young": YOUNG,
        "animal_class": CLASSES,
        "capital": CAPITALS,
        "country_of_capital": _swapped(CAPITALS),
        "continent": {country: continent for continent, names in CONTINENTS.items() for country in names.split()},
        "demonym": DEMONYMS,
        "language": LANGUAGES,
        "symbol": SYMBOLS,
        "atomic_number": ATOMIC_NUMBERS,
        "code_word": CODE_WORDS,
    }
)
"""Lexical step -> input -> output. A table is all that its step knows: other inputs are undefined."""
