//! Windows of a sorted result: few documents are read, whatever the filter does to the order.

use keyplane_search::domain::Value;
use keyplane_search::domain::request::SearchRequest;

use crate::oracle::Oracle;
use crate::rig::{Rig, document, ids, order, request, schema};

#[tokio::test(flavor = "multi_thread")]
async fn range_that_goes_with_the_order_takes_few_documents() {
    let rig = Rig::start().await;
    let (name, schema) = (rig.create("acme", "correlated", schema()).await, schema());
    let numbered = |at: i32| {
        let fields = [("amount", Value::Integer(i64::from(at))), ("price", Value::Decimal(f64::from(at) / 4.0))];
        document(&format!("d{at}"), &fields)
    };
    let documents: Vec<_> = (0..6_000).map(numbered).collect();
    rig.put_all(&name, &documents).await;
    let search = SearchRequest {
        filter: "amount >= 2500".to_owned(),
        order_by: vec![order("price", false)],
        explain: true,
        ..request()
    };
    let result = rig.search(&name, &search).await;
    let oracle = Oracle { name: &name, schema: &schema, documents: &documents };
    assert_eq!(ids(&result), oracle.sorted(&search.filter, &search.order_by)[..20]);
    let loaded: u64 = result.plan.iter().flat_map(|plan| &plan.steps).map(|step| step.loaded).sum();
    assert!(loaded < 2_000, "{:?}", result.plan);
}
