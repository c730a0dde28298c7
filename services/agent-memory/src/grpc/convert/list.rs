//! Request of ListMemories.

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::rules::memory as stated;
use keyplane_contracts::{Violations, page};

use super::scope::Sent;
use super::{checked, content};
use crate::domain::{Filter, ListRequest, States};
use crate::error::Error;

/// Memories to list, the page's size, and the position that it follows.
pub(in crate::grpc) fn list(request: &pb::ListMemoriesRequest) -> Result<(ListRequest, u32, Option<String>), Error> {
    let mut violations = Violations::new();
    let pb::ListMemoriesRequest { parent, user, agent, workflow, session, .. } = request;
    let scope = Sent { parent, user, agent, workflow, session, at: "" }.read(&mut violations);
    let states = states(request.state, &mut violations);
    let kinds = content::kind(request.kind, "kind", &mut violations).into_iter().collect();
    let [unset, most] = stated::PAGE;
    let size = page::size(request.page_size, unset, most, &mut violations);
    let after = page::decode(&request.page_token, &list_of(request), |position| Some(position.to_owned()));
    let after = violations.keep(after).flatten();
    let list = scope.map(|scope| ListRequest { scope, states, filter: Filter { kinds, ..Filter::default() } });
    checked(list, violations).map(|list| (list, size, after))
}

/// List that a page token belongs to: everything but the size of the page.
pub(super) fn list_of(request: &pb::ListMemoriesRequest) -> String {
    let pb::ListMemoriesRequest { parent, user, agent, workflow, session, state, kind, .. } = request;
    format!("{parent}/{user}/{agent}/{workflow}/{session}/{state}/{kind}")
}

fn states(sent: i32, violations: &mut Violations) -> States {
    use pb::memory::State;
    match State::try_from(sent) {
        Ok(State::Unspecified) => States::All,
        Ok(State::Current) => States::Current,
        Ok(State::Superseded) => States::Superseded,
        Err(_) => {
            violations.add("state", "must be STATE_CURRENT or STATE_SUPERSEDED, or unset");
            States::All
        }
    }
}
