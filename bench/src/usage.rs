//! Memory and commands, by Valkey's own account.

use std::collections::BTreeMap;

use keyplane_engine::{Reply, Valkey};

use crate::Error;
use crate::rig::{self, APP};

/// Calls and time of each command since the server started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commands(BTreeMap<String, (u64, u64)>);

// === impl Commands ===

impl Commands {
    pub(crate) fn now(valkey: &Valkey) -> Result<Commands, Error> {
        let reply = valkey.command(&["INFO", "commandstats"])?;
        let lines = reply.text().unwrap_or_default().lines();
        Ok(Commands(lines.filter_map(parse).collect()))
    }

    /// Calls of each command since `earlier`, without those that the bench itself made; those that were made, by name.
    pub(crate) fn calls_since(&self, earlier: &Commands) -> BTreeMap<String, u64> {
        let since = self.0.iter().map(|(name, (calls, _))| (name, calls - earlier.0.get(name).map_or(0, |was| was.0)));
        let ours = since.filter(|(name, calls)| *calls > 0 && name.as_str() != "info");
        ours.map(|(name, calls)| (name.clone(), calls)).collect()
    }

    /// Microseconds that scripts took since `earlier`.
    pub(crate) fn script_micros_since(&self, earlier: &Commands) -> u64 {
        let micros = |commands: &Commands| ["evalsha", "eval"].map(|name| commands.0.get(name).map_or(0, |it| it.1));
        micros(self).iter().sum::<u64>() - micros(earlier).iter().sum::<u64>()
    }
}

/// `cmdstat_evalsha:calls=12,usec=345,usec_per_call=...`.
fn parse(line: &str) -> Option<(String, (u64, u64))> {
    let (name, fields) = line.trim().strip_prefix("cmdstat_")?.split_once(':')?;
    let field = |wanted: &str| {
        fields.split(',').find_map(|field| field.strip_prefix(wanted)?.strip_prefix('=')?.parse::<u64>().ok())
    };
    Some((name.to_owned(), (field("calls")?, field("usec")?)))
}

/// Bytes of all keys of a family, such as `_:feed`, by the server's own count; and the number of keys.
pub(crate) fn family(valkey: &Valkey, family: &str) -> Result<(u64, u64), Error> {
    let pattern = format!("{APP}:revocation:{family}:*");
    let (mut cursor, mut bytes, mut count) = ("0".to_owned(), 0, 0);
    loop {
        let reply = valkey.command(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", "20000"])?;
        let Reply::Array(parts) = reply else { return Err("SCAN has no list".into()) };
        let (Some(next), Some(Reply::Array(keys))) = (parts.first().and_then(Reply::text), parts.get(1)) else {
            return Err("SCAN has another form than Valkey gives it".into());
        };
        for key in keys.iter().filter_map(Reply::text) {
            let reply = valkey.command(&["MEMORY", "USAGE", key, "SAMPLES", "0"])?;
            bytes += reply.int().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
            count += 1;
        }
        if next == "0" {
            return Ok((bytes, count));
        }
        next.clone_into(&mut cursor);
    }
}

/// Bytes of one key, as the server itself counts them.
pub(crate) fn key(valkey: &Valkey, key: &str) -> Result<u64, Error> {
    let reply = valkey.command(&["MEMORY", "USAGE", key, "SAMPLES", "0"])?;
    reply.int().and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(|| format!("there is no key {key}").into())
}

/// Bytes that Valkey uses now.
pub(crate) fn memory(valkey: &Valkey) -> Result<u64, Error> {
    rig::used_memory(valkey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_statistics_of_commands() {
        let line = "cmdstat_evalsha:calls=12,usec=345,usec_per_call=28.75,rejected_calls=0,failed_calls=0\r";
        assert_eq!(parse(line), Some(("evalsha".to_owned(), (12, 345))));
        assert_eq!(parse("# Commandstats"), None);
    }

    #[test]
    fn counts_what_was_called_since() {
        let commands =
            |calls| Commands([("evalsha".to_owned(), (calls, calls * 10)), ("info".to_owned(), (calls, 1))].into());
        let (before, after) = (commands(2), commands(5));
        assert_eq!(after.calls_since(&before), [("evalsha".to_owned(), 3)].into());
        assert_eq!(after.script_micros_since(&before), 30);
    }
}
