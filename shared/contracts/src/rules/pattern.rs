//! Rules as keywords of JSON Schema, in the dialect of OpenAPI 3.0.

use serde_json::{Value, json};

use super::Rule;

/// Class of all characters but control characters, in the syntax of any regular-expression engine.
const PRINTABLE: &str = r"[^\x00-\x1f\x7f-\x9f]";

pub(super) fn keywords(rule: &Rule) -> Vec<(&'static str, Value)> {
    match *rule {
        Rule::Text { least: 0, most } => {
            vec![("maxLength", json!(most)), ("pattern", json!(format!("^{PRINTABLE}*$")))]
        }
        Rule::Text { least, most } => {
            vec![("minLength", json!(least)), ("maxLength", json!(most)), ("pattern", json!(format!("^{PRINTABLE}+$")))]
        }
        Rule::Length(most) => vec![("maxLength", json!(most))],
        Rule::Pattern(pattern) => vec![("pattern", json!(format!("^({pattern})?$")))],
        Rule::Required(pattern) => vec![("pattern", json!(format!("^{pattern}$")))],
        Rule::Mask(names) => {
            let name = format!("({})", names.iter().map(|name| camel(name)).collect::<Vec<_>>().join("|"));
            vec![("pattern", json!(format!("^({name}(,{name})*)?$")))]
        }
        Rule::Opaque | Rule::Free | Rule::OneOf => Vec::new(),
        Rule::RequiredOpaque => vec![("minLength", json!(1))],
        Rule::Number { least, most } => vec![("minimum", json!(least)), ("maximum", json!(most))],
        Rule::Seconds { least, most, zero, digits } => vec![("pattern", json!(seconds(least, most, zero, digits)))],
        Rule::NotNegative => vec![("pattern", json!(r"^[0-9]{1,11}(\.[0-9]{1,9})?s$"))],
        Rule::Items { least, most, unique, .. } => {
            let mut keywords = vec![("maxItems", json!(most))];
            if least > 0 {
                keywords.push(("minItems", json!(least)));
            }
            if unique {
                keywords.push(("uniqueItems", json!(true)));
            }
            keywords
        }
        Rule::Pairs { most, .. } => vec![("maxProperties", json!(most))],
    }
}

/// Durations of `least` to `most` seconds, as protobuf writes them: `90s`, `0.250s`.
fn seconds(least: u64, most: u64, zero: bool, digits: u8) -> String {
    let fraction = match digits {
        9.. => r"(\.[0-9]{1,9})?".to_owned(),
        digits => format!(r"(\.[0-9]{{1,{digits}}}0{{0,{}}})?", 9 - digits),
    };
    let mut ways = Vec::new();
    if zero && least > 0 {
        ways.push(r"0(\.0{1,9})?".to_owned());
    }
    if most > least {
        ways.push(format!("({}){fraction}", between(least, most - 1).join("|")));
    }
    ways.push(format!(r"{most}(\.0{{1,9}})?"));
    format!("^({})s$", ways.join("|"))
}

/// Patterns of the whole numbers from `least` to `most`, without leading zeros.
fn between(least: u64, most: u64) -> Vec<String> {
    let mut patterns = Vec::new();
    let mut from = least;
    while from <= most {
        // The most free digits at the end that the range has room for.
        let mut free = 1;
        while from.is_multiple_of(free * 10) && from + free * 10 - 1 <= most && (from > 0 || free * 10 <= 1) {
            free *= 10;
        }
        // All first digits that have room for as many.
        let digit = from / free % 10;
        let last = (digit..=9).take_while(|last| from + (last - digit + 1) * free - 1 <= most).last().unwrap_or(digit);
        let head = if from >= free * 10 { (from / free / 10).to_string() } else { String::new() };
        let digits = if digit == last { digit.to_string() } else { format!("[{digit}-{last}]") };
        let tail = match free.ilog10() {
            0 => String::new(),
            1 => "[0-9]".to_owned(),
            count => format!("[0-9]{{{count}}}"),
        };
        patterns.push(head + &digits + &tail);
        from += (last - digit + 1) * free;
    }
    patterns
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_uppercase() + rest
    })
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::{between, camel, seconds};

    #[test]
    fn patterns_of_ranges_match_their_numbers_alone() {
        for (least, most) in [(0, 9), (0, 10), (1, 59), (7, 7), (0, 3599), (1, 3599), (13, 2046), (98, 1001)] {
            let pattern = Regex::new(&format!("^({})$", between(least, most).join("|"))).unwrap();
            for number in 0..=4000u64 {
                let inside = (least..=most).contains(&number);
                assert_eq!(pattern.is_match(&number.to_string()), inside, "{number} of {least} to {most}: {pattern}");
            }
            assert!(!pattern.is_match("") && !pattern.is_match("007"));
        }
    }

    #[test]
    fn durations_end_where_the_rule_ends() {
        let hour = Regex::new(&seconds(1, 3600, false, 9)).unwrap();
        for text in ["1s", "1.5s", "59s", "3599.999999999s", "3600s", "3600.000s"] {
            assert!(hour.is_match(text), "{text}");
        }
        for text in ["0s", "0.9s", "3600.1s", "3601s", "-1s", "1", "1.s", "1h", "10000s"] {
            assert!(!hour.is_match(text), "{text}");
        }
        assert!(Regex::new(&seconds(1, 3600, true, 9)).unwrap().is_match("0s"));
        let micros = Regex::new(&seconds(1, 3600, true, 6)).unwrap();
        assert!(micros.is_match("1.123456s") && micros.is_match("1.123456000s") && !micros.is_match("1.1234567s"));
    }

    #[test]
    fn names_are_in_camel_case() {
        assert_eq!(camel("remove_all_keys"), "removeAllKeys");
        assert_eq!(camel("limit"), "limit");
    }
}
