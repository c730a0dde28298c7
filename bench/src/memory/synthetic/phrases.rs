//! Words of the synthetic conversations.

/// Fact whose answer shares no word with the question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    pub prompt: &'static str,
    pub reply: &'static str,
    pub question: &'static str,
    pub values: &'static [&'static str],
}

pub(super) const NAMES: &[&str] = &[
    "Ingrid", "Tomas", "Priya", "Marek", "Leila", "Owen", "Sofia", "Jonas", "Amara", "Felix", "Nadia", "Hugo", "Yuki",
    "Pavel", "Clara", "Idris", "Greta", "Mateo", "Zara", "Anton",
];

pub(super) const THINGS: &[&str] = &[
    "telescope",
    "canoe",
    "typewriter",
    "beehive",
    "accordion",
    "greenhouse",
    "motorbike",
    "loom",
    "kayak",
    "saxophone",
    "record player",
    "sewing machine",
    "tandem",
    "easel",
    "espresso machine",
    "camper van",
    "hammock",
    "piano",
    "bookcase",
    "rowing boat",
    "chess set",
    "drone",
    "treehouse",
    "unicycle",
    "kite",
    "lathe",
    "terrarium",
    "harp",
    "sled",
    "globe",
    "projector",
    "wheelbarrow",
    "fiddle",
    "rocking chair",
];

pub(super) const CITIES: &[&str] = &[
    "Porto", "Ghent", "Turku", "Split", "Bergen", "Graz", "Lyon", "Cork", "Gdansk", "Bari", "Cadiz", "Leeds", "Tartu",
    "Basel", "Malmo", "Izmir", "Quito", "Osaka", "Perth", "Halifax",
];

pub(super) const COMPANIES: &[&str] = &[
    "Brightwell",
    "Nordlicht",
    "Castle & Rowe",
    "Tidewater",
    "Almond Labs",
    "Ferro",
    "Quillworks",
    "Sandbank",
    "Umbra",
    "Vellum",
];

pub(super) const DISHES: &[&str] = &[
    "lentil soup",
    "mushroom risotto",
    "fish curry",
    "ratatouille",
    "dumplings",
    "shakshuka",
    "paella",
    "goulash",
    "bean chili",
    "pea soup",
    "lasagne",
    "ramen",
    "moussaka",
    "potato gratin",
    "falafel",
    "pumpkin stew",
];

pub(super) const PASTIMES: &[&str] =
    &["bouldering", "orienteering", "birdwatching", "snorkelling", "geocaching", "ice skating"];

/// Beginnings that carry nothing.
pub(super) const ASIDES: &[&str] = &[
    "Ha, well.",
    "Honestly?",
    "Oh dear.",
    "Good to hear from you.",
    "Let me think.",
    "That reminds me.",
    "True enough.",
];

/// Turns about meals.
pub(super) const MEALS: &[&str] = &[
    "Dinner was {dish} here, and the dishes are still in the sink.",
    "I might have {dish} for dinner.",
    "We had {dish} again tonight.",
    "What did you have for dinner? I want something other than {dish}.",
    "Tonight it was {dish} for me, a bit late.",
    "Dinner with the neighbours was nice; they made {dish}.",
    "Have you ever had {dish} for dinner in {city}?",
    "There was {dish} left from dinner, so I took it to work.",
    "Tonight's dinner here was {dish}, and there is enough left.",
    "For dinner we had {dish} here, and it was too salty.",
    "Tonight's dinner was {dish}, from the freezer.",
];

/// Turns about the things of the facts.
pub(super) const CHATTER: &[&str] = &[
    "I saw a {thing} in a shop window in {city} and thought of you.",
    "The {thing} needs a repair again.",
    "My sister keeps asking about the {thing}.",
    "Would you rather have a {thing} or a {other}?",
    "I read a long article on how a {thing} is made.",
    "Is the {thing} still in the garage, next to the {other}?",
    "Somebody at the office sold a {thing} last week.",
    "I dreamt of {city} and a broken {thing}.",
    "We looked for a {thing} all over {city}, and found a {other} instead.",
    "The weather in {city} was dreadful.",
    "My train to {city} was late again.",
    "I should call my parents in {city}.",
    "The kids drew a {thing} and a {other}.",
    "You never told me what the {thing} is worth.",
    "Do you remember the old {thing} at my aunt's place in {city}?",
    "I am tired today; the {other} kept me busy until late.",
    "My desk is full of papers again.",
    "On Sundays the shops are closed.",
    "The new office is too warm.",
    "I bought a book about {city}, not a {thing}.",
];

/// Questions that one speaker asks and the other answers.
pub(super) const DETAILS: &[Detail] = &[
    Detail {
        prompt: "Have you settled on a name for the {thing} yet?",
        reply: "We all voted, and {value} won by a mile.",
        question: "What name did {speaker} settle on for the {thing}?",
        values: &["Juniper", "Captain", "Biscuit", "Old Tom", "Marlene"],
    },
    Detail {
        prompt: "Which colour will you paint the {thing}?",
        reply: "It has to be {value}, anything else bores me.",
        question: "Which colour does {speaker} want to paint the {thing}?",
        values: &["the shade of the old ferry", "like my aunt's front door", "the one from the sample card"],
    },
    Detail {
        prompt: "Who taught you to use the {thing}?",
        reply: "That was {value}, years ago, on a rainy afternoon.",
        question: "Who taught {speaker} to use the {thing}?",
        values: &["my grandmother", "a sailor", "the man next door", "Professor Lind"],
    },
    Detail {
        prompt: "Did you find out when the {thing} was built?",
        reply: "They told me {value}, can you believe it.",
        question: "When was the {thing} of {speaker} built?",
        values: &["before the war", "the year of the flood", "the same year as the bridge"],
    },
];
