//! Seeds of every target, and mutants of them, without the fuzzer.

use std::path::Path;

use keyplane_fuzz::TARGETS;

/// Mutants of each target.
const MUTANTS: u64 = 2_000;

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Next number of a sequence without a pattern: splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

/// Seed with some bytes changed, removed, or copied from another seed.
fn mutant(seeds: &[Vec<u8>], state: &mut u64) -> Vec<u8> {
    let mut below = |limit: usize| usize::try_from(next(state) % (limit as u64 + 1)).unwrap();
    let mut bytes = seeds[below(seeds.len() - 1)].clone();
    for _ in 0..=below(3) {
        let (at, other) = (below(bytes.len()), &seeds[below(seeds.len() - 1)]);
        match below(3) {
            0 => bytes.insert(at, u8::try_from(below(255)).unwrap()),
            1 => drop(bytes.drain(at..)),
            2 if at < bytes.len() => bytes[at] ^= 1 << below(7),
            _ => {
                let piece = other[below(other.len())..].iter().take(8).copied();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

#[test]
fn seeds_and_their_mutants_keep_every_promise() {
    for target in TARGETS {
        let seeds = seeds(target.name);
        assert!(seeds.len() >= 4, "the target {} has {} seeds", target.name, seeds.len());
        seeds.iter().for_each(|seed| (target.run)(seed));
        let mut state = 7;
        for _ in 0..MUTANTS {
            (target.run)(&mutant(&seeds, &mut state));
        }
    }
}
