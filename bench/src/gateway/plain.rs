//! Shipped configuration without the guard.

use serde_json::Value;

use crate::Error;

/// Filters that are there for the guard alone: itself, and the buffer that holds a request until all of it was checked.
const FILTERS: [&str; 2] = ["envoy.filters.http.ext_proc", "keyplane.whole_request"];
const CLUSTER: &str = "guard";

/// Takes the guard and its buffer out of Envoy's configuration: the filters, what routes say of them, and the guard's cluster.
///
/// # Errors
///
/// A missing filter, setting or cluster: the comparison would be one of equals.
pub(super) fn without_guard(configuration: &str) -> Result<String, Error> {
    let mut root: Value = serde_saphyr::from_str(configuration)?;
    for filter in FILTERS {
        match remove_filter(&mut root, filter) {
            1 => {}
            count => return Err(format!("the gateway's configuration has {count} filters {filter}, not 1").into()),
        }
    }
    if remove_named(&mut root["static_resources"]["clusters"], CLUSTER) != 1 {
        return Err(format!("the gateway's configuration has no cluster {CLUSTER}").into());
    }
    // JSON is YAML.
    Ok(root.to_string())
}

/// Removes a filter wherever it is listed, and what routes say of it; the number of lists that held it.
fn remove_filter(value: &mut Value, filter: &str) -> usize {
    match value {
        Value::Object(members) => {
            let listed = members.get_mut("http_filters").map_or(0, |filters| remove_named(filters, filter));
            if let Some(Value::Object(filters)) = members.get_mut("typed_per_filter_config") {
                filters.remove(filter);
            }
            listed + members.values_mut().map(|member| remove_filter(member, filter)).sum::<usize>()
        }
        Value::Array(items) => items.iter_mut().map(|item| remove_filter(item, filter)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Removes what is called `name` from a list; the number of those that were.
fn remove_named(list: &mut Value, name: &str) -> usize {
    let Value::Array(items) = list else { return 0 };
    let before = items.len();
    items.retain(|item| item["name"] != name);
    before - items.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../deploy/envoy/gateway.yaml");

    /// Filled in with anything.
    fn shipped() -> String {
        let parts = SHIPPED.split("${").enumerate();
        parts
            .map(|(number, part)| if number == 0 { part } else { part.split_once('}').unwrap().1 })
            .fold(String::new(), |filled, part| if filled.is_empty() { part.to_owned() } else { filled + "1" + part })
    }

    #[test]
    fn the_guard_is_all_that_is_missing() {
        let before: Value = serde_saphyr::from_str(&shipped()).unwrap();
        let after: Value = serde_json::from_str(&without_guard(&shipped()).unwrap()).unwrap();
        let manager = |root: &Value| {
            root["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"].clone()
        };
        let names = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        let (mut had, has) = (names(&manager(&before)["http_filters"]), names(&manager(&after)["http_filters"]));
        had.retain(|name| !FILTERS.contains(&name.as_str()));
        assert_eq!(had, has);
        let clusters = [&before, &after].map(|root| names(&root["static_resources"]["clusters"]));
        assert_eq!(clusters[0].len(), clusters[1].len() + 1);
        assert_eq!(manager(&before)["local_reply_config"], manager(&after)["local_reply_config"]);
        let text = manager(&after)["route_config"].to_string();
        assert!(FILTERS.iter().all(|filter| !text.contains(filter)), "{text}");
        assert!(text.contains("envoy.filters.http.buffer"), "{text}");
    }

    #[test]
    fn configuration_without_guard_is_rejected() {
        let plain = without_guard(&shipped()).unwrap();
        let error = without_guard(&plain).unwrap_err().to_string();
        assert!(error.contains("0 filters envoy.filters.http.ext_proc"), "{error}");
    }
}
