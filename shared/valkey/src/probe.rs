//! Probe of the engine: does it have the commands that a service needs?

use crate::observe::Operation;
use crate::{Error, ErrorKind, Valkey, Value};

/// Policy of a server that evicts nothing.
const NO_EVICTION: &str = "noeviction";

/// Capability of the engine that a service needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Lua scripts.
    Scripts,
    /// Streams.
    Streams,
    /// Channels.
    Pubsub,
    /// Bloom filters.
    Bloom,
    /// Acknowledgements of replicas (`WAIT`), which this user may call.
    Wait,
    /// Search indexes.
    Search,
}

// === impl Need ===

impl Need {
    /// Name, commands, and the engines that have them.
    fn facts(self) -> (&'static str, &'static [&'static str], &'static str) {
        let any = "Valkey 7.2 or later";
        match self {
            Need::Scripts => ("scripts", &["EVALSHA", "SCRIPT"], any),
            Need::Streams => ("streams", &["XADD", "XRANGE"], any),
            Need::Pubsub => ("pub/sub", &["PUBLISH", "SUBSCRIBE"], any),
            Need::Bloom => {
                let engine = "Valkey with valkey-bloom (ElastiCache: Valkey 8.1 or later)";
                ("Bloom filters", &["BF.ADD", "BF.EXISTS"], engine)
            }
            Need::Wait => {
                let engine = "Valkey 7.2 or later, node-based, and a user whose ACL has +wait";
                ("acknowledgements of replicas", &["WAIT"], engine)
            }
            Need::Search => {
                let engine = "Valkey 9.0.1 or later with valkey-search 1.2 (ElastiCache: node-based, not Serverless)";
                ("search", &["FT.CREATE", "FT.SEARCH", "FT._LIST"], engine)
            }
        }
    }
}

// === impl Valkey ===

impl Valkey {
    /// Checks that the engine has what a service needs; call it at start. The first missing command gives
    /// [`ErrorKind::FeatureMissing`], which names the command and an engine that has it.
    ///
    /// Uses `COMMAND INFO`, and `FT._LIST` for search, which every supported engine allows. [`Need::Wait`] also calls
    /// `WAIT 0 0`, which returns at once: a user who may not call it lacks the capability.
    pub async fn probe(&self, needs: &[Need]) -> Result<(), Error> {
        for need in needs {
            let (_, commands, _) = need.facts();
            if let Some(command) = self.first_unknown(commands).await? {
                return Err(lacks(*need, command));
            }
            if *need == Need::Wait {
                let missing = [ErrorKind::FeatureMissing, ErrorKind::Denied];
                self.try_command(*need, "WAIT", &["0", "0"], &missing).await?;
            }
            if *need == Need::Search {
                self.try_command(*need, "FT._LIST", &[], &[ErrorKind::FeatureMissing]).await?;
            }
        }
        Ok(())
    }

    /// Reports whether the engine has a command.
    pub async fn knows(&self, command: &'static str) -> Result<bool, Error> {
        Ok(self.first_unknown(&[command]).await?.is_none())
    }

    /// Reads the policy by which a full server evicts keys; `None` if it does not tell.
    async fn eviction_policy(&self) -> Result<Option<String>, Error> {
        let reply = match self.ask("INFO", &["memory"]).await {
            Ok(reply) => reply,
            Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::FeatureMissing) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = reply.text().map_err(|error| error.in_operation("INFO"))?;
        let policy = text.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
        Ok(policy.map(|policy| policy.trim().to_owned()))
    }

    /// Checks that a full server rejects writes, and evicts no key. `false` if it does not tell its policy. In a cluster it asks
    /// one node.
    ///
    /// # Errors
    /// [`ErrorKind::FeatureMissing`] for another policy, which it names; or as for any call.
    pub async fn check_eviction(&self) -> Result<bool, Error> {
        match self.eviction_policy().await? {
            None => Ok(false),
            Some(policy) if policy == NO_EVICTION => Ok(true),
            Some(policy) => {
                let message = format!(
                    "the store evicts keys when its memory is full, and would lose data; set maxmemory-policy to {NO_EVICTION}; it is \
                     {policy}"
                );
                Err(Error::new(ErrorKind::FeatureMissing, "probe", message))
            }
        }
    }

    /// First of the commands that the engine lacks.
    async fn first_unknown(&self, commands: &[&'static str]) -> Result<Option<&'static str>, Error> {
        let arguments: Vec<&'static str> = std::iter::once("INFO").chain(commands.iter().copied()).collect();
        let known = self.ask("COMMAND", &arguments).await?.array()?;
        // An unknown command is nil, or an empty list on some engines.
        let unknown = |reply: &Value| match reply {
            Value::Array(parts) => parts.is_empty(),
            Value::Nil | Value::Int(_) | Value::Bytes(_) => true,
        };
        let missing = commands.iter().enumerate().find(|(index, _)| known.get(*index).is_none_or(unknown));
        Ok(missing.map(|(_, command)| *command))
    }

    /// Calls a command of `need`; a failure of a kind in `missing` says that the engine lacks it.
    async fn try_command(
        &self,
        need: Need,
        command: &'static str,
        arguments: &[&'static str],
        missing: &[ErrorKind],
    ) -> Result<(), Error> {
        let result = self.ask(command, arguments).await;
        result.map(drop).map_err(|error| if missing.contains(&error.kind()) { lacks(need, command) } else { error })
    }

    async fn ask(&self, command: &'static str, arguments: &[&'static str]) -> Result<Value, Error> {
        let arguments = || arguments.iter().map(|text| fred::types::Value::from_static_str(text)).collect();
        self.send(Operation::read(command, "none"), None, arguments).await
    }
}

fn lacks(need: Need, command: &str) -> Error {
    let (name, _, engine) = need.facts();
    let allowed = if need == Need::Wait { ", or this user may not call it" } else { "" };
    let message = format!("the store's engine lacks {command}, which {name} need{allowed}; use {engine}");
    Error::new(ErrorKind::FeatureMissing, "probe", message)
}
