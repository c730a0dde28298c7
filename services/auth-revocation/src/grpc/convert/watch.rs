//! Responses about the feed.

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::watch_response::Stage;
use keyplane_contracts::span;
use keyplane_revocation::{Millis, wire};

use crate::app::Update;
use crate::app::replica::{Head, Propagation};

/// Response of a watch.
pub(in crate::grpc) fn watch_response(update: Update) -> pb::WatchResponse {
    let Update { entries, sequence, epoch, resume_token, rules } = update;
    let stage = if sequence.is_some() { Stage::Live } else { Stage::Snapshot };
    pb::WatchResponse {
        stage: stage.into(),
        entries: entries.iter().map(|entry| wire::feed_entry(entry)).collect(),
        sequence: sequence.map(|sequence| sequence.encode()).unwrap_or_default(),
        epoch: epoch.to_string(),
        resume_token,
        rules: rules.as_ref().map(wire::rules),
    }
}

/// Position of this instance in the feed, and the store's time.
pub(in crate::grpc) fn head(head: &Head, store_time: Option<Millis>) -> pb::GetHeadResponse {
    pb::GetHeadResponse {
        sequence: head.sequence.to_string(),
        epoch: head.epoch.to_string(),
        age: head.age.map(span),
        store_time: store_time.map(wire::timestamp),
    }
}

/// Instances that have applied a revocation.
pub(in crate::grpc) fn propagation(propagation: Propagation) -> pb::WaitForPropagationResponse {
    pb::WaitForPropagationResponse {
        complete: propagation.complete,
        instance_count: i32::try_from(propagation.instances).unwrap_or(i32::MAX),
        lagging_instances: propagation.lagging,
    }
}
