//! Limits of a run, as both services read them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::decide::AMOUNT;

/// Domains of the limits: for rows that are admitted, and for rows that are denied.
pub(super) const ADMITTING: &str = "bench";
pub(super) const DENYING: &str = "flood";

/// Our policies. In `own` are those that no other service is asked about; what Envoy asks must meet one policy alone.
fn ours() -> String {
    format!(
        "policies:
  - {{id: one, domain: {ADMITTING}, entries: [tenant, user], limit: {{amount: {AMOUNT}, per: 1h}}}}
  - {{id: two, domain: own, entries: [tenant, user], limit: {{amount: 50000, per: 1d}}}}
  - {{id: three, domain: own, entries: [tenant, user], limit: {{amount: 1000000, per: 30d}}}}
  - {{id: tenant, domain: own, entries: [tenant], limit: {{amount: 20000000, per: 1h}}}}
  - {{id: leased, domain: own, entries: [tenant], limit: {{amount: 1000000000, per: 1h}}, lease: 1000}}
  - {{id: denied, domain: {DENYING}, entries: [tenant, user], limit: {{amount: 1, per: 1h}}}}
  - {{id: zipf, domain: own, entries: [tenant, user], limit: {{amount: 100, per: 1s}}}}
  - {{id: memory, domain: own, entries: [tenant, user], limit: {{amount: 10, per: 1h}}}}
"
    )
}

/// Writes the same limit in the format of envoyproxy/ratelimit.
fn theirs(domain: &str, amount: u64) -> String {
    format!(
        "domain: {domain}
descriptors:
  - key: tenant
    descriptors:
      - key: user
        rate_limit: {{unit: hour, requests_per_unit: {amount}}}
"
    )
}

/// Writes our policies into `folder`; the file.
pub(super) fn write_ours(folder: &Path) -> Result<PathBuf, Error> {
    let file = folder.join("policies.yaml");
    fs::write(&file, ours())?;
    Ok(file)
}

/// Writes theirs below `folder`, its `RUNTIME_ROOT`, where `RUNTIME_SUBDIRECTORY` is `ratelimit`.
pub(super) fn write_theirs(folder: &Path) -> Result<(), Error> {
    let config = folder.join("ratelimit/config");
    fs::create_dir_all(&config)?;
    fs::write(config.join("bench.yaml"), theirs(ADMITTING, AMOUNT))?;
    Ok(fs::write(config.join("flood.yaml"), theirs(DENYING, 1))?)
}
