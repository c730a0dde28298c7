//! Conversations in LoCoMo's format: a JSON array of samples, each with the sessions of one conversation and questions whose
//! evidence is named by turn (`D3:11`: session 3, turn 11).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// Sample: one conversation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Sample {
    /// Name.
    #[serde(default)]
    pub sample_id: Value,
    /// `session_<n>` with turns, `session_<n>_date_time`, and the speakers' names.
    pub conversation: BTreeMap<String, Value>,
    /// Questions.
    pub qa: Vec<Asked>,
}

/// Question with its evidence.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Asked {
    /// Text.
    pub question: String,
    /// Answer; absent if the conversation has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// Turns that hold the answer.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// 1 several places, 2 time, 3 inference, 4 one place, 5 no answer.
    #[serde(default)]
    pub category: u8,
}

/// Turn of a session.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Turn {
    /// Who said it.
    pub speaker: String,
    /// Id, `D<session>:<turn>`.
    pub dia_id: String,
    /// Text.
    #[serde(default)]
    pub text: String,
    /// Description of a picture that was sent along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blip_caption: Option<String>,
}

/// Session of a conversation.
#[derive(Clone, Debug)]
pub(super) struct Dialogue {
    /// Its first moment, in milliseconds since 1970.
    pub time: i64,
    pub turns: Vec<Turn>,
}

/// Reads a file of samples.
pub(super) fn read(path: &Path) -> Result<Vec<Sample>, Error> {
    let failed = |error: &dyn std::fmt::Display| format!("reading {}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    Ok(serde_json::from_str(&text).map_err(|error| failed(&error))?)
}

// === impl Sample ===

impl Sample {
    /// Name, or the number in the file.
    pub(super) fn name(&self, number: usize) -> String {
        match &self.sample_id {
            Value::String(name) => name.clone(),
            Value::Number(name) => name.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => format!("#{number}"),
        }
    }

    /// Sessions in order.
    pub(super) fn sessions(&self) -> Result<Vec<Dialogue>, Error> {
        let number = |name: &str| name.strip_prefix("session_")?.parse::<u32>().ok();
        let mut found: Vec<(u32, &String, &Value)> =
            self.conversation.iter().filter_map(|(name, turns)| Some((number(name)?, name, turns))).collect();
        found.sort_unstable_by_key(|(number, ..)| *number);
        found.into_iter().map(|(_, name, turns)| self.session(name, turns)).collect()
    }

    fn session(&self, name: &str, turns: &Value) -> Result<Dialogue, Error> {
        let turns = Vec::<Turn>::deserialize(turns).map_err(|error| format!("`{name}`: {error}"))?;
        let date = self.conversation.get(&format!("{name}_date_time")).and_then(Value::as_str).unwrap_or_default();
        let time = read_time(date).ok_or_else(|| format!("`{name}_date_time` must be as `1:56 pm on 8 May, 2023`"))?;
        Ok(Dialogue { time, turns })
    }
}

// === impl Asked ===

impl Asked {
    /// Ids of the evidence, in the form that turns have: some files join several in one text, or write `D:1:2` and `D1:02`.
    pub(super) fn evidence(&self) -> Vec<String> {
        let parts =
            self.evidence.iter().flat_map(|text| text.split([';', ',', ' '])).filter(|part| part.starts_with('D'));
        let numbers = |part: &str| -> Vec<u32> {
            part.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
        };
        let mut ids: Vec<String> = parts
            .filter_map(|part| match numbers(part)[..] {
                [session, turn] => Some(format!("D{session}:{turn}")),
                _ => None,
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

// === impl Turn ===

impl Turn {
    /// Text, and the description of its picture.
    pub(super) fn text(&self) -> String {
        match &self.blip_caption {
            Some(caption) => format!("{} [picture: {caption}]", self.text),
            None => self.text.clone(),
        }
    }
}

/// Moment of `1:56 pm on 8 May, 2023` in milliseconds since 1970, or of a time by RFC 3339.
pub(super) fn read_time(text: &str) -> Option<i64> {
    if let Some(time) = keyplane_contracts::timestamp::parse_millis(text) {
        return Some(time);
    }
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let (clock, half) = (words.next()?, words.next()?);
    let (day, month, year) = (words.nth(1)?, words.next()?, words.next()?);
    let (hour, minute) = clock.split_once(':')?;
    let hour = hour.parse::<u32>().ok()? % 12 + if half.eq_ignore_ascii_case("pm") { 12 } else { 0 };
    let names = keyplane_agent_memory::domain::calendar::MONTHS;
    let month = names.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    let (day, minute) = (day.parse::<u32>().ok()?, minute.parse::<u32>().ok()?);
    keyplane_contracts::timestamp::parse_millis(&format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        let expected = Some(1_683_554_160_000);
        assert_eq!(read_time("1:56 pm on 8 May, 2023"), expected);
        assert_eq!(read_time("2023-05-08T13:56:00Z"), expected);
        assert_eq!(read_time("12:05 am on 1 January, 1970"), Some(300_000));
        assert_eq!(read_time("yesterday"), None);
    }

    #[test]
    fn evidence_is_read_in_all_its_spellings() {
        let asked = |evidence: &[&str]| Asked {
            question: String::new(),
            answer: None,
            evidence: evidence.iter().map(|text| (*text).to_owned()).collect(),
            category: 1,
        };
        assert_eq!(
            asked(&["D8:6; D9:17", "D30:05", "D:11:26", "D8:6"]).evidence(),
            ["D11:26", "D30:5", "D8:6", "D9:17"]
        );
        assert!(asked(&["D", ""]).evidence().is_empty());
    }

    #[test]
    fn sessions_stand_in_the_order_of_their_numbers() {
        let turn =
            |id: &str| serde_json::json!([{ "speaker": "Ann", "dia_id": id, "text": "Hi", "blip_caption": "a dog" }]);
        let sample: Sample = serde_json::from_value(serde_json::json!({
            "sample_id": 7, "qa": [],
            "conversation": {
                "speaker_a": "Ann",
                "session_10": turn("D10:1"), "session_10_date_time": "1:56 pm on 8 May, 2023",
                "session_2": turn("D2:1"), "session_2_date_time": "1:56 pm on 7 May, 2023",
                "session_3_date_time": "1:56 pm on 9 May, 2023",
            },
        }))
        .expect("a sample");
        let sessions = sample.sessions().expect("sessions");
        let ids: Vec<&str> = sessions.iter().map(|session| session.turns[0].dia_id.as_str()).collect();
        assert_eq!((ids, sample.name(1)), (vec!["D2:1", "D10:1"], "7".to_owned()));
        assert_eq!(sessions[0].turns[0].text(), "Hi [picture: a dog]");
    }
}
