//! Extent of memory as callers see it: the sequence that was applied, and the epoch that it counts in.

use std::sync::Arc;

use keyplane_revocation::Sequence;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};

/// Sequence and epoch of memory.
pub(in crate::app) struct Coverage {
    instance: Arc<str>,
    covered: RwLock<Covered>,
    epochs: watch::Sender<Arc<str>>,
    /// Rings when the sequence advances.
    advanced: Notify,
}

struct Covered {
    sequence: Sequence,
    /// Encoded `sequence`: made once for many answers.
    text: Arc<str>,
    epoch: Arc<str>,
    /// Epochs before this one.
    count: u64,
}

// === impl Coverage ===

impl Coverage {
    pub(super) fn new(instance: Arc<str>, partitions: u32) -> Coverage {
        let (sequence, epoch) = (Sequence::new(partitions), epoch_name(&instance, 0));
        let covered = Covered { text: sequence.encode().into(), sequence, epoch: epoch.clone(), count: 0 };
        let (covered, epochs) = (RwLock::new(covered), watch::Sender::new(epoch));
        Coverage { instance, covered, epochs, advanced: Notify::new() }
    }

    /// Encoded sequence, and whether it covers `wanted`.
    pub(in crate::app) fn text_covering(&self, wanted: Option<&Sequence>) -> (Arc<str>, bool) {
        let covered = self.covered.read();
        let covers = wanted.is_none_or(|wanted| covered.sequence.covers(wanted));
        (covered.text.clone(), covers)
    }

    /// Encoded sequence, and epoch.
    pub(super) fn text_and_epoch(&self) -> (Arc<str>, Arc<str>) {
        let covered = self.covered.read();
        (covered.text.clone(), covered.epoch.clone())
    }

    pub(super) fn sequence(&self) -> Sequence {
        self.covered.read().sequence.clone()
    }

    pub(super) fn epoch(&self) -> Arc<str> {
        self.covered.read().epoch.clone()
    }

    /// Follows the epoch: the receiver changes with each new one.
    pub(super) fn epochs(&self) -> watch::Receiver<Arc<str>> {
        self.epochs.subscribe()
    }

    /// Publishes that the entry `seq` of a partition was applied. A lower number than before counts only if
    /// `may_go_back`: applied entries stay so, also while the feed is read once more.
    pub(super) fn advance(&self, partition: u32, seq: u64, may_go_back: bool) {
        let mut covered = self.covered.write();
        if seq < covered.sequence.get(partition) && !may_go_back {
            return;
        }
        covered.sequence.set(partition, seq);
        covered.text = covered.sequence.encode().into();
        drop(covered);
        self.advanced.notify_one();
    }

    /// Begins a new epoch: sequences before it can't be compared with those after.
    pub(super) fn begin_epoch(&self) {
        let epoch = {
            let mut covered = self.covered.write();
            covered.count += 1;
            covered.epoch = epoch_name(&self.instance, covered.count);
            covered.epoch.clone()
        };
        self.epochs.send_replace(epoch);
    }

    /// Waits until the sequence advances; a notice that came before the call is kept.
    pub(super) async fn advanced(&self) {
        self.advanced.notified().await;
    }
}

fn epoch_name(instance: &str, count: u64) -> Arc<str> {
    format!("{instance}.{count}").into()
}
