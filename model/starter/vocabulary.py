"""The starter model's WordPiece vocabulary: common caption words as whole tokens, and pieces to spell all others.

In the layout of BLIP's published vocabulary (bert-base-uncased plus two): the tokenizer has [PAD] (id 0), [UNK], [CLS],
[SEP] and [MASK]; [DEC], with which every caption starts, and [ENC] exist only in the model, right after the
tokenizer's last id.
"""

from __future__ import annotations

import string

from transformers import BertTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# Signs that BERT's tokenizer does not count as punctuation, and so keeps inside a word.
_SIGNS = "°€£¥×½¼¾²³ß"
_PUNCTUATION = string.punctuation + "“”‘’„–—…•·«»¿¡§"

_PIECES = """
s es ed ing er est ly y ish en al ful less ness ment tion ion able ous ive ity or ist ism ic ical age ance ence ant ent
ary ery ory ty th re un in an on at it is as ar st nd ng nt le te ne se de me ve ge ce ll ss tt ee oo ou ea ai ie ey ay
ow oa ck ch sh ph wh ri ro ra la lo li ma mo mi na no ni ta to ti ca co da do di ba bo bi pa po pi fa fo ha ho ka ke ki
sa so si va vo ga go gi ja je ju ru lu tu su mu nu bu du pu fu gu hu ur or ir el em et es ad ap ag ab ac am ear ight
ound ack all ell ill ook ake ame ine ane one ide ate ite ore and end ang ong ung ish own oat ood ool oom oon ant int ost
ster ling let man men land board house light side line ball tail berry water wood stone field way work time day port fly
"""

# Nouns get their plural too.
_NOUNS = """
animal cat kitten kitty tabby tomcat dog puppy bird parrot duck duckling goose swan chicken hen rooster owl eagle pigeon
seagull penguin flamingo peacock crow sparrow horse pony donkey cow calf bull sheep lamb goat pig elephant giraffe zebra
lion tiger bear panda monkey gorilla kangaroo koala rabbit bunny mouse rat squirrel fox wolf deer moose camel hippo rhino
whale dolphin shark turtle tortoise frog toad snake lizard crocodile dinosaur dragon butterfly bee ant spider ladybug
beetle snail worm crab lobster octopus starfish jellyfish goldfish trout salmon minnow pet paw tail wing feather fur fin
nose mouth eye ear whisker horn creature critter pussycat insect dragonfly hamster seal raccoon hedgehog beaver
person adult child kid baby toddler boy girl guy lady gentleman player rider skier surfer skateboarder
snowboarder batter pitcher catcher umpire driver passenger worker chef cook waiter doctor nurse teacher student soldier
officer fireman policeman farmer fisherman sailor pilot singer dancer artist friend couple family crowd group team
mother father parent son daughter brother sister bride groom king queen prince princess clown
hand arm leg foot head face hair finger knee shoulder neck back body heart smile beard cheek
shirt jacket coat dress skirt suit tie hat cap helmet glove shoe boot sandal sock scarf belt uniform costume
sweater hoodie vest sunglass backpack bag purse suitcase umbrella parasol brolly sunshade necklace ring watch crown mask
car automobile auto motorcar vehicle sedan hatchback taxi cab van minivan truck lorry bus coach train tram trolley engine wagon
motorcycle motorbike scooter bicycle bike skateboard surfboard snowboard ski sled boat ship sailboat vessel yacht
dinghy canoe kayak ferry raft barge craft plane airplane jet helicopter balloon rocket kite tractor trailer jeep
wheel tire window windshield headlight seat door mirror sail mast hull oar anchor deck flag wing roof chimney
house home cottage building cabin hut dwelling residence bungalow villa mansion shed barn garage castle palace tower
church temple school hospital hotel restaurant cafe store shop market station airport stadium museum library bridge
apartment skyscraper lighthouse windmill tent farm factory fence gate wall staircase stair step ladder porch balcony
street road highway path sidewalk trail track lane corner intersection crosswalk sign signal lamp lantern pole post
hydrant meter bench fountain statue clock park playground garden yard lawn field meadow forest jungle desert beach
shore coast island harbor dock pier lake river stream pond pool ocean sea wave waterfall mountain hill cliff valley
rock stone boulder cave volcano tree oak maple pine palm birch willow cedar sapling evergreen shrub bush hedge plant
leaf branch trunk root twig log flower blossom bloom rose daisy tulip sunflower lily orchid dandelion wildflower posy
petal stem seed vine bouquet fern moss mushroom cactus sun star moon planet cloud cumulus puff sky rainbow storm
shadow sunset sunrise snowflake icicle flame
room bedroom bathroom kitchen office hallway floor ceiling corridor table desk chair stool couch sofa armchair bed
crib pillow blanket sheet curtain rug carpet shelf cabinet drawer closet dresser bookcase lamp candle vase frame
painting poster picture photo photograph image drawing illustration sketch cartoon graphic icon figure artwork print
cover card page book magazine newspaper letter envelope paper pencil pen crayon brush marker scissor ruler
computer laptop keyboard monitor screen phone cellphone telephone camera television radio remote speaker headphone
refrigerator fridge oven stove microwave sink toilet shower bathtub towel toothbrush soap bottle cup mug glass bowl
plate dish tray fork knife spoon pot pan kettle basket box crate barrel bucket can jar lid napkin
apple banana pear peach plum grape cherry lemon lime melon watermelon pineapple strawberry blueberry raspberry tomato
potato carrot onion pepper pumpkin cucumber broccoli salad vegetable fruit sandwich burger pizza pasta noodle
soup egg omelet pancake waffle toast bagel bun roll cake cupcake pie cookie donut muffin pastry candy
snack meal breakfast lunch dinner dessert drink juice
ball bat racket racquet net goal hoop glove frisbee game toy doll teddy puppet block puzzle robot drum guitar piano violin
trumpet flute microphone instrument song hammer saw drill nail screw wrench shovel rake broom mop
rope chain string wire cable pipe tube hook hinge button zipper pocket key lock coin bill gift present ribbon bow
candle trophy medal badge arrow circle square triangle rectangle oval diamond shape line dot stripe spot curve edge
border pattern texture surface background foreground scene view object item thing element piece part pair
bunch stack pile row column set collection kind type size color colour shade tone hue tint style design detail
top bottom side middle center centre front rear end left right corner half quarter
caption description title label text word name number letter note tag alt subject
day night morning evening afternoon season summer winter spring autumn fall holiday birthday party wedding
event concert parade festival race match place spot location area space town city village country state world
"""

_OTHER = """
a an the this that these those it its he she they them their his her him we you i me my your our us one some any each
every both all no not none other another same different many much more most few several
and or but nor so as if then than because while when where which who whom whose what how why
is are was were be been being am has have had having do does did done can could may might must shall should will would
there here isn't
of in on at by for with without from to into onto out off up down over under above below beneath underneath behind
before after beside besides between among amid around about across along through throughout against toward towards near
nearby next far farther further away close closer nearest inside outside within beyond past atop upon via per like unlike
ahead adjacent opposite alongside underside upper lower higher highest lowest apart together alone aside leftmost
rightmost topmost overhead leftward rightward northern southern eastern western north south east west
also too only just very quite rather really almost nearly about still already again once twice always never often
maybe perhaps else even instead likely simply mostly partly partially fully slightly completely
zero two three four five six seven eight nine ten eleven twelve dozen hundred thousand first second third fourth last
single double triple pairs trio duo
red orange yellow green blue purple pink white black brown gray grey crimson scarlet ruby cherry maroon burgundy
vermilion reddish tangerine amber apricot coral peach golden gold lemon canary mustard blond emerald lime jade olive
moss mint teal turquoise aqua cyan azure navy cobalt sapphire indigo bluish greenish yellowish violet lilac
lavender plum mauve magenta fuchsia rosy salmon blush pinkish purplish ivory cream snowy pale pearl chalk
beige tan bronze silver copper rust chocolate charcoal colored coloured colorful colourful multicolored bright dark
light vivid pastel neon dull deep rich faded tinted hued monochrome transparent off
small little tiny mini miniature petite wee compact minute short teeny teensy smallish undersized micro pocket
small-sized large big huge giant gigantic enormous great massive oversized sizable sizeable tall bulky jumbo vast immense
colossal mammoth hefty grand biggish largish medium average long wide narrow thick thin broad high low slim fat round flat
smaller smallest larger largest bigger biggest littler tiniest taller shorter
sized shaped round curved straight pointed pointy rounded curly wavy zigzag smooth rough soft hard fluffy puffy furry
hairy fuzzy shiny glossy matte wooden metal metallic plastic leather brick concrete stone glass paper cloth fabric
striped dotted spotted checkered plaid plain patterned textured solid simple complex clear cloudy sunny rainy snowy
foggy stormy windy wet dry hot cold warm cool frozen icy
happy sad angry smiling laughing cheerful cute pretty beautiful lovely nice funny silly adorable friendly sleepy
young old new modern ancient vintage antique fresh ripe clean dirty empty full open closed broken
busy crowded quiet calm peaceful lonely wild tame stuffed fake real tropical domestic leafy lush grassy sandy rocky
muddy dusty snow rain wind ice fire smoke steam fog mist water sand grass mud dirt soil dust air sunshine sunlight
rainfall thunder lightning weather music food bread rice meat beef bacon ham cheese butter milk coffee tea wine beer
honey sugar salt chocolate cream furniture clothing luggage equipment traffic graffiti jewelry makeup
men women people man woman children feet teeth hair hands mice geese sheep deer fish wolves leaves knives loaves
sitting standing walking running jumping lying laying sleeping resting playing riding driving flying swimming sailing
floating eating drinking holding carrying wearing looking watching staring smiling laughing talking reading writing
drawing painting cooking cutting throwing catching hitting kicking swinging skiing surfing skating skateboarding
snowboarding climbing crossing parking parked waiting working pulling pushing hanging leaning reaching pointing waving
hugging kissing posing taking making using showing displaying depicting featuring containing covering covered filled
surrounded topped placed positioned located situated set seen visible shown pictured depicted illustrated painted drawn
made attached arranged lined stacked mounted tied decorated hovering overlapping hiding hidden shining glowing blooming
growing grazing towering facing touching covers hides overlaps obscures obscuring blocks blocking
sits stands walks runs jumps lies sleeps rests plays rides drives flies swims sails floats eats drinks holds carries
wears looks watches shows displays depicts features contains hangs leans hovers appears shines glows grows faces
sit stand walk run jump lie sleep rest play ride drive fly swim sail float eat hold carry wear look watch see show find
take make give get go come put keep let say call use need want try help work move turn stop start
alt text clip art vector scene picture-of photo-of shows image depiction rendering portrait landscape closeup close-up
minimalist digital cartoonish childlike handmade hand-drawn stylized animated flat style
left-hand right-hand hand lefthand vs versus plus minus equals
nothing everything something amethyst distant motor wallpaper feline well nearer polka canopy yes ok please thanks hello look wow
"""


def words() -> list[str]:
    """Every whole word of the vocabulary, each once."""
    nouns = _NOUNS.split()
    found = dict.fromkeys([*_OTHER.split(), *nouns, *map(_plural, nouns)])
    # The tokenizer splits at hyphens and apostrophes, so such a token would never occur.
    return [word for word in found if word.isalpha() and len(word) > 1]


def vocabulary() -> dict[str, int]:
    """Tokens and their ids, special tokens first."""
    letters = string.ascii_lowercase + string.digits
    singles = [*letters, *_PUNCTUATION, *_SIGNS]
    continued = [f"##{piece}" for piece in (*letters, *_SIGNS, *_PIECES.split())]
    tokens = dict.fromkeys([*SPECIAL, *singles, *continued, *words()])
    return {token: index for index, token in enumerate(tokens)}


def build_tokenizer() -> BertTokenizerFast:
    """A lower-casing tokenizer of the class that BLIP's checkpoints use, without [DEC] and [ENC], as theirs."""
    # `vocab_file=` would silently make a tokenizer that knows only [UNK] in transformers 5.
    return BertTokenizerFast(
        vocab=vocabulary(),
        do_lower_case=True,
        model_max_length=128,
        model_input_names=["input_ids", "attention_mask"],
    )


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"
