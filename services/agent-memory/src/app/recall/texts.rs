//! Texts of the ranked memories: loaded, checked, packed, rendered.

use std::collections::{HashMap, HashSet};

use super::{CountTokens, Run, explain};
use crate::domain::pack::{Budget, pack};
use crate::domain::rank::Scored;
use crate::domain::recall::{RecallRequest, RecalledMemory};
use crate::domain::render::{self, Rendered};
use crate::domain::{Item, MemoryId, Session};
use crate::error::Error;
use crate::store::{CHUNK, Stored};

/// Memories that are taken.
pub(super) struct Chosen {
    stored: HashMap<MemoryId, Stored>,
    /// Lines of the rendered text, the best first.
    pub lines: Vec<Line>,
}

/// Memory, or a piece of one, in the rendered text.
pub(super) struct Line {
    scored: Scored,
    item: Item,
}

// === impl Run ===

impl Run<'_> {
    /// Takes the best memories that fit, and loads them. Those that are gone meanwhile, or not admitted, are left out.
    pub(super) async fn choose(
        &self,
        sessions: &[Session],
        scored: Vec<Scored>,
        count: &CountTokens,
    ) -> Result<Chosen, Error> {
        let budget = Budget { tokens: self.request.max_tokens, items: 0, min_score: self.request.min_score };
        let (scored, mut stored) = if self.admission.needs_memory() {
            self.sift(sessions, scored, budget).await?
        } else {
            (scored, HashMap::new())
        };
        let taken = pack(&scored, sessions, budget, &|text| count(text)).taken;
        let mut lines: Vec<Line> = taken
            .into_iter()
            .map(|at| Line { scored: scored[at], item: sessions[scored[at].session].items[scored[at].item].clone() })
            .collect();
        limit(&mut lines, self.request.max_memories);
        let missing: Vec<MemoryId> =
            lines.iter().map(|line| line.item.id).filter(|id| !stored.contains_key(id)).collect();
        self.load(&missing, &mut stored).await?;
        lines.retain(|line| stored.contains_key(&line.item.id));
        Ok(Chosen { stored, lines })
    }

    /// Ranked items whose memories are admitted, as many as may fit the budget: what items do not tell is read of the memories.
    async fn sift(
        &self,
        sessions: &[Session],
        scored: Vec<Scored>,
        budget: Budget,
    ) -> Result<(Vec<Scored>, HashMap<MemoryId, Stored>), Error> {
        let (mut kept, mut stored, mut tokens) = (Vec::new(), HashMap::new(), 0_u32);
        let item = |scored: &Scored| &sessions[scored.session].items[scored.item];
        for chunk in scored.chunks(CHUNK) {
            let below = budget.min_score.is_some_and(|least| chunk.first().is_some_and(|best| best.score < least));
            if tokens > budget.tokens || below {
                break;
            }
            let ids: Vec<MemoryId> = chunk.iter().map(|scored| item(scored).id).collect();
            self.load(&ids, &mut stored).await?;
            for scored in chunk.iter().filter(|scored| stored.contains_key(&item(scored).id)) {
                tokens = tokens.saturating_add(item(scored).tokens);
                kept.push(*scored);
            }
        }
        Ok((kept, stored))
    }

    /// Adds the memories that exist and are admitted.
    async fn load(&self, ids: &[MemoryId], stored: &mut HashMap<MemoryId, Stored>) -> Result<(), Error> {
        let ids: Vec<MemoryId> = ids.iter().copied().collect::<HashSet<_>>().into_iter().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let found = self.store.load(&self.request.scope.owner.tenant, &ids).await?.into_iter().flatten();
        let admitted = found.filter(|found| self.admission.admits(&found.memory));
        stored.extend(admitted.map(|found| (found.memory.id, found)));
        Ok(())
    }
}

// === impl Chosen ===

impl Chosen {
    /// Renders the lines that fit.
    pub(super) fn render(&self, request: &RecallRequest, count: &CountTokens) -> Rendered {
        let lines = self.lines.iter().filter_map(|line| {
            Some(render::Line {
                session: line.scored.session,
                sequence: line.item.sequence,
                time: line.item.time,
                speaker: &line.item.speaker,
                text: self.text(line)?,
            })
        });
        render::render_within(lines.collect(), request.max_tokens, count)
    }

    /// Memories of lines, each once, the best first.
    pub(super) fn memories(&self, lines: &[Line], explained: bool) -> Vec<RecalledMemory> {
        let mut seen = HashSet::new();
        let first = lines.iter().filter(|line| seen.insert(line.item.id));
        first
            .filter_map(|line| {
                Some(RecalledMemory {
                    memory: self.stored.get(&line.item.id)?.memory.clone(),
                    score: line.scored.score,
                    terms: if explained { explain::terms(&line.scored) } else { Vec::new() },
                })
            })
            .collect()
    }

    /// Memories of lines, each once, those of an owner together.
    pub(super) fn used(&self, lines: &[Line]) -> Vec<&Stored> {
        let ids: HashSet<MemoryId> = lines.iter().map(|line| line.item.id).collect();
        let mut used: Vec<&Stored> = ids.iter().filter_map(|id| self.stored.get(id)).collect();
        used.sort_unstable_by(|a, b| (&a.memory.scope.owner, a.memory.id).cmp(&(&b.memory.scope.owner, b.memory.id)));
        used
    }

    /// Texts that the caller now has: of each line, of each memory, and of the whole.
    pub(super) fn raw_texts<'a>(&'a self, lines: &'a [Line], rendered: &'a str) -> Vec<&'a str> {
        if lines.is_empty() {
            return Vec::new();
        }
        let pieces = lines.iter().filter_map(|line| self.text(line));
        let stored = lines.iter().filter_map(|line| self.stored.get(&line.item.id));
        let memories = stored.map(|found| found.memory.text.as_str());
        let texts: HashSet<&str> = pieces.chain(memories).chain([rendered]).collect();
        texts.into_iter().collect()
    }

    /// Text of a line.
    fn text(&self, line: &Line) -> Option<&str> {
        let memory = &self.stored.get(&line.item.id)?.memory;
        Some(line.item.piece.map_or(memory.text.as_str(), |piece| piece.slice(&memory.text)))
    }
}

/// Keeps the lines of the first `most` memories; all if `most` is 0.
fn limit(lines: &mut Vec<Line>, most: u32) {
    let mut seen = HashSet::new();
    let most = if most == 0 { usize::MAX } else { most as usize };
    lines.retain(|line| seen.contains(&line.item.id) || (seen.len() < most && seen.insert(line.item.id)));
}
