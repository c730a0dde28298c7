//! Names of the keys of definitions.
//!
//! | key | holds |
//! |---|---|
//! | `<app>:search:{<tenant>:collections}:defs` | definition of each collection (hash) |
//! | `<app>:search:{<tenant>:collections}:job:<collection>` | lease and checkpoint of the maintenance (hash) |
//! | `<app>:search:~:collections:{p0}` | collections of all tenants, by their next maintenance (zset) |

use keyplane_contracts::names::{CollectionName, TenantId};
use keyplane_valkey::{App, Feature, Key};

const SUBJECT: &str = "collections";

pub(super) fn definitions(app: &App, tenant: &TenantId) -> Key {
    Key::tagged(app, Feature::SEARCH, tenant.as_str(), SUBJECT, &["defs"])
}

pub(super) fn job(app: &App, name: &CollectionName) -> Key {
    Key::tagged(app, Feature::SEARCH, name.tenant.as_str(), SUBJECT, &["job", name.collection.as_str()])
}

/// Key that no tenant's can equal: a tenant's id has no `~`.
pub(super) fn directory(app: &App) -> Key {
    Key::partitioned(app, Feature::SEARCH, "~", &[SUBJECT], 0)
}
