//! English words that are no terms, contractions and their parts among them.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Stop words, folded.
pub(super) static STOP_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| LIST.split(' ').collect());

const LIST: &str = "a about above after again against ain all also am an and any anybody anyone anything are aren aren't as at \
    be because been before being below between both but by can can't cannot could couldn couldn't d did didn \
    didn't do does doesn doesn't doing don don't down during each ever few for from further get gets getting got \
    had hadn hadn't has hasn hasn't have haven haven't having he he'd he'll he's her here hers herself hey hi \
    him himself his how how's i i'd i'll i'm i've if in into is isn isn't it it'd it'll it's its itself just let \
    let's ll m ma may might mightn mightn't more most much must mustn mustn't my myself needn needn't no nor not \
    now o of off oh on once one only or other our ours ourselves out over own re really s same shan shan't she \
    she'd she'll she's should should've shouldn shouldn't so some such t than that that'd that'll that's thats \
    the their theirs them themselves then there there's these they they'd they'll they're they've this those \
    through to too under until up us ve very was wasn wasn't we we'd we'll we're we've were weren weren't what \
    what's when when's where where's which while who who's whom whose why why's will with won won't would wouldn \
    wouldn't y yeah yes you you'd you'll you're you've your yours yourself yourselves";
