//! Batches: texts of similar length, padded to the longest, since the model reads a rectangle.

use candle_core::{Device, Result, Tensor};
use tokenizers::Encoding;

/// Texts of one run of the model.
pub(super) struct Batch {
    /// Positions of the texts in the call.
    pub(super) members: Vec<usize>,
    /// Ids of the pieces: one row a text.
    pub(super) ids: Tensor,
    /// 1 for a piece, 0 for padding.
    pub(super) mask: Tensor,
    /// True if there is padding.
    pub(super) padded: bool,
}

/// Cuts a call into batches in which padding is less than half.
pub(super) fn batches(encodings: &[Encoding]) -> Result<Vec<Batch>> {
    let length = |at: &usize| encodings[*at].len();
    groups(encodings.len(), length).into_iter().map(|members| Batch::new(encodings, members)).collect()
}

/// Groups of positions, shortest texts first; the longest of a group is less than twice as long as its shortest.
fn groups(count: usize, length: impl Fn(&usize) -> usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(&length);
    let (mut rest, mut groups) = (order.as_slice(), Vec::new());
    while let Some(first) = rest.first() {
        let end = rest.partition_point(|at| length(at) < 2 * length(first).max(1));
        let (group, others) = rest.split_at(end);
        groups.push(group.to_vec());
        rest = others;
    }
    groups
}

// === impl Batch ===

impl Batch {
    fn new(encodings: &[Encoding], members: Vec<usize>) -> Result<Batch> {
        let width = members.iter().map(|at| encodings[*at].len()).max().unwrap_or(0);
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for at in &members {
            let pieces = encodings[*at].get_ids();
            let padding = width - pieces.len();
            ids.extend(pieces.iter().copied().chain(std::iter::repeat_n(0, padding)));
            mask.extend(std::iter::repeat_n(1_f32, pieces.len()).chain(std::iter::repeat_n(0.0, padding)));
        }
        let shape = (members.len(), width);
        let padded = mask.contains(&0.0);
        let ids = Tensor::from_vec(ids, shape, &Device::Cpu)?;
        let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?;
        Ok(Batch { members, ids, mask, padded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_similar_length_share_a_batch() {
        let lengths = [3, 40, 5, 6, 100, 64];
        assert_eq!(groups(lengths.len(), |at| lengths[*at]), [vec![0, 2], vec![3], vec![1, 5], vec![4]]);
        assert!(groups(0, |_| 0).is_empty());
    }
}
