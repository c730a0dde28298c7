//! The version of a feature's stored layout, which programs of another layout must not touch.

use crate::key::Key;
use crate::observe::Operation;
use crate::{Error, ErrorKind, Feature, Valkey, Value};

// === impl Valkey ===

impl Valkey {
    /// Records `version` as the layout of `feature` if there is none yet, else holds it against the recorded one. Call
    /// it at start, before anything is read or written.
    ///
    /// Fails with [`ErrorKind::Layout`] where the stored layout is another. Calling it again does no harm.
    pub async fn check_layout(&self, feature: Feature, version: u32) -> Result<(), Error> {
        let key = Key::layout(self.app(), feature);
        self.record(&key, version).await?;
        let stored = self.get(&key).await?;
        let stored: Option<u32> = stored.as_deref().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        match stored {
            Some(stored) if stored == version => Ok(()),
            Some(stored) => Err(differs(&key, &format!("version {stored}"), version)),
            None => Err(differs(&key, "a version that this program can't read", version)),
        }
    }

    async fn record(&self, key: &Key, version: u32) -> Result<(), Error> {
        let operation = Operation { changes: true, ..Operation::read("SET", key.feature().name()) };
        let mut attempt = self.begin(operation).await?;
        let arguments = vec![
            fred::types::Value::String(key.text().clone()),
            fred::types::Value::Integer(i64::from(version)),
            fred::types::Value::from_static_str("NX"),
        ];
        let result = attempt.custom("SET", &self.slot(key), arguments).await;
        attempt.finish(result).map(Value::from_fred).map(|_| ())
    }
}

fn differs(key: &Key, stored: &str, version: u32) -> Error {
    let message = format!(
        "the stored data has layout {stored} but this program has layout version {version} ({key}); run the program \
         that wrote it, migrate the data, or set another KEYPLANE_APP"
    );
    Error::new(ErrorKind::Layout, "check_layout", message)
}
