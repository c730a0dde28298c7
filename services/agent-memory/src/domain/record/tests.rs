use proptest::prelude::*;

use super::*;

fn partition() -> Partition {
    Partition::new(7).expect("a partition")
}

fn sketches(words: usize) -> impl Strategy<Value = Sketch> {
    (0..20_usize).prop_flat_map(move |pieces| {
        let bits = proptest::collection::vec(any::<u64>(), pieces * words);
        (proptest::collection::vec(any::<u16>(), pieces), bits).prop_map(|(pieces, bits)| Sketch { pieces, bits })
    })
}

fn vectors() -> impl Strategy<Value = Vector> {
    let values = proptest::collection::vec(any::<i8>(), 1..400);
    (proptest::num::f32::NORMAL, values).prop_map(|(scale, values)| Vector { scale, values })
}

prop_compose! {
    fn items()(
        (sequence, hash, kind) in (any::<u32>(), any::<[u8; 16]>(), 0..Kind::ALL.len()),
        (speaker, entities) in (".{0,12}", proptest::collection::vec(any::<u32>(), 0..4)),
        times in any::<[i64; 5]>(),
        (pinned, superseded, importance) in any::<(bool, bool, u8)>(),
        hashes in any::<[u32; 3]>(),
        (tokens, length) in any::<(u32, u32)>(),
        piece in proptest::option::of((any::<u32>(), 1..u32::MAX)),
        terms in proptest::collection::vec(any::<(u32, u8)>(), 0..30),
        vector in proptest::option::of(vectors()),
        sketch in proptest::option::of(sketches(6)),
    ) -> Item {
        let [accessed, valid_from, valid_until, expires, time] = times;
        let [agent, workflow, space] = hashes;
        Item {
            sequence,
            id: MemoryId::new(partition(), hash),
            piece: piece.map(|(start, end)| Piece { start, end }),
            kind: Kind::ALL[kind],
            speaker: speaker.into(),
            entities,
            time, agent, workflow, valid_from, valid_until, expires, accessed, importance, pinned, superseded,
            tokens,
            length,
            terms: terms.into_iter().map(|(hash, frequency)| Term { hash, frequency }).collect(),
            space,
            vector,
            sketch,
        }
    }
}

proptest! {
    #[test]
    fn item_is_read_as_it_was_packed(item in items()) {
        prop_assert_eq!(read(partition(), item.sequence, &pack(&item)), Ok(item));
    }

    #[test]
    fn truncated_and_longer_values_are_malformed(item in items(), cut in any::<prop::sample::Index>()) {
        let mut packed = pack(&item);
        let short = &packed[..cut.index(packed.len())];
        prop_assert_eq!(read(partition(), 0, short), Err(Malformed { bytes: short.len() }));
        packed.push(0);
        prop_assert_eq!(read(partition(), 0, &packed), Err(Malformed { bytes: packed.len() }));
    }

    #[test]
    fn arbitrary_bytes_are_read_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = bytes.first_mut() {
            *first = LAYOUT;
        }
        let _ = read(partition(), 0, &bytes);
    }

    #[test]
    fn patches_change_their_field_alone(item in items(), time in any::<i64>(), importance in any::<u8>()) {
        let mut packed = pack(&item);
        let patches = [
            Patch::pinned(true),
            Patch::superseded(),
            Patch::importance(importance),
            Patch::accessed(time),
            Patch::valid_from(time.wrapping_add(3)),
            Patch::valid_until(time.wrapping_add(1)),
            Patch::expires(time.wrapping_add(2)),
        ];
        patches.iter().for_each(|patch| patch.apply(&mut packed));
        let changed = Item {
            pinned: true,
            superseded: true,
            importance,
            accessed: time,
            valid_from: time.wrapping_add(3),
            valid_until: time.wrapping_add(1),
            expires: time.wrapping_add(2),
            ..item.clone()
        };
        prop_assert_eq!(read(partition(), item.sequence, &packed), Ok(changed));
    }
}

/// Size of the layout that capacity and cost are computed from.
#[test]
fn item_of_384_dimensions_and_15_word_pieces_takes_1_285_bytes() {
    let item = Item {
        sequence: 0,
        id: MemoryId::new(partition(), [7; 16]),
        piece: None,
        kind: Kind::Message,
        speaker: "Caroline".into(),
        entities: Vec::new(),
        time: 0,
        agent: 0,
        workflow: 0,
        valid_from: i64::MIN,
        valid_until: i64::MAX,
        expires: 0,
        accessed: 0,
        importance: 128,
        pinned: false,
        superseded: false,
        tokens: 30,
        length: 12,
        terms: vec![Term { hash: 1, frequency: 1 }; 11],
        space: 1,
        vector: Some(Vector { scale: 0.1, values: vec![1; 384] }),
        sketch: Some(Sketch { pieces: vec![1; 15], bits: vec![1; 90] }),
    };
    assert_eq!(pack(&item).len(), 1_285);
}
