//! Queries of the demo, to copy.

use serde_json::json;

use super::TENANT;
use crate::Endpoints;

const SEARCH: &str = "keyplane.search.v1.SearchService/SearchDocuments";

/// Commands for people, each in a line of its own, indented by two spaces.
pub(crate) fn guide(endpoints: &Endpoints) -> String {
    let queries = [
        (
            "typos: `simens helthineers`",
            "companies",
            json!({"query": "simens helthineers", "fields": ["name", "country"]}),
        ),
        (
            "prefix, facets, highlights",
            "companies",
            json!({"query": "semicond", "pageSize": 3, "fields": ["name"], "highlight": {"snippetWords": 8},
                   "facets": [{"field": "country", "maxValues": 5}, {"field": "employees", "stats": true}]}),
        ),
        (
            "filter and order",
            "tasks",
            json!({"query": "contract", "filter": "status = \"open\" AND amount >= 1000 AND tags : (\"legal\" OR \"urgent\")",
                   "orderBy": "due", "pageSize": 3, "fields": ["title", "due", "amount"]}),
        ),
    ];
    let mut text = String::from("\nsearch: 1,836 companies and 20,000 made-up tasks of the tenant demo\n\n");
    for (title, set, query) in queries {
        text.push_str(&format!("  # {title}\n"));
        if let Some(gateway) = &endpoints.gateway {
            let url = format!("{gateway}/v1/{TENANT}/collections/{set}/documents:search");
            text.push_str(&format!(
                "  curl -s -X POST {url} -H \"authorization: Bearer $TOKEN\" -H 'content-type: application/json' -d '{query}'\n"
            ));
        }
        let mut call = query.clone();
        call["parent"] = format!("{TENANT}/collections/{set}").into();
        text.push_str(&format!("  grpcurl -plaintext -d '{call}' {} {SEARCH}\n", endpoints.service("search").grpc));
    }
    text
}
