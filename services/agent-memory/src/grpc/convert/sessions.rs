//! Requests on sessions, and their results.

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::names::{Id, MemorySessionName};
use keyplane_contracts::rules::memory as stated;
use keyplane_contracts::{Violation, Violations, page};
use prost::Message as _;

use super::checked;
use super::remember::{check_batch, new_memory};
use super::reply::{count, memory, result};
use super::scope::{Sent, space};
use super::times::now;
use crate::app::sessions::{EventPage, Summarized, Trim};
use crate::domain::{Kind, NewMemory, Scope, SpaceId};
use crate::error::Error;

/// Events to append; one that is invalid leaves the others alone.
pub(in crate::grpc) struct Events {
    /// Scope, with the session.
    pub(in crate::grpc) scope: Scope,
    /// Space; none for the default.
    pub(in crate::grpc) space: Option<SpaceId>,
    /// Events, or the errors of their fields, in the order of the request.
    pub(in crate::grpc) events: Vec<Result<(Id, NewMemory), Error>>,
}

/// Summary to write, and the last event that it replaces.
pub(in crate::grpc) struct Summary {
    /// Scope, with the session.
    pub(in crate::grpc) scope: Scope,
    /// Space; none for the default.
    pub(in crate::grpc) space: Option<SpaceId>,
    /// Id of the last event.
    pub(in crate::grpc) up_to: Id,
    /// Summary.
    pub(in crate::grpc) memory: NewMemory,
}

/// Events to append.
pub(in crate::grpc) fn append(request: pb::AppendSessionRequest) -> Result<Events, Error> {
    let mut violations = Violations::new();
    let pb::AppendSessionRequest { name, user, agent, workflow, .. } = &request;
    let scope = scope(name, "name", [user, agent, workflow], &mut violations);
    let space = space(&request.space, &mut violations);
    check_batch("events", request.events.len(), request.encoded_len(), &mut violations);
    let scope = checked(scope, violations)?;
    let now = now();
    let convert = |(index, event): (usize, pb::Memory)| {
        let at = format!("events[{index}]");
        let id = Id::parse(&event.event_id, &format!("{at}.event_id"));
        match (id, new_memory(&scope.owner.tenant, event, &at, now, Kind::Message)) {
            (Ok(id), Ok(memory)) => Ok((id, memory)),
            (Err(violation), Err(Error::Invalid(more))) => Err(Error::Invalid([vec![violation], more].concat())),
            (Err(violation), _) => Err(Error::invalid(violation)),
            (Ok(_), Err(error)) => Err(error),
        }
    };
    let events = request.events.into_iter().enumerate().map(convert).collect();
    Ok(Events { scope, space, events })
}

/// Session to list, the page's size, and the sequence from which it begins.
pub(in crate::grpc) fn list_events(request: &pb::ListSessionEventsRequest) -> Result<(Scope, u32, u32), Error> {
    let mut violations = Violations::new();
    let scope = scope(&request.parent, "parent", [&request.user, "", ""], &mut violations);
    let [unset, most] = stated::PAGE;
    let size = page::size(request.page_size, unset, most, &mut violations);
    let from = page::decode(&request.page_token, &list_of(request), |position| position.parse().ok());
    let from = violations.keep(from).flatten().unwrap_or_default();
    checked(scope, violations).map(|scope| (scope, size, from))
}

/// Session to trim, and what of it.
pub(in crate::grpc) fn trim(request: &pb::TrimSessionRequest) -> Result<(Scope, Trim), Error> {
    let mut violations = Violations::new();
    let scope = scope(&request.name, "name", [&request.user, "", ""], &mut violations);
    let trim = match (request.up_to_event.as_str(), request.keep_latest) {
        ("", Some(latest)) => {
            let latest = u32::try_from(latest).ok().filter(|latest| *latest <= stated::KEPT);
            let rule = || Violation::new("keep_latest", format!("must be 0 to {}", stated::KEPT));
            violations.keep(latest.ok_or_else(rule)).map(Trim::Keep)
        }
        ("", None) | (_, Some(_)) => {
            violations.add("up_to_event", "must be set, or else `keep_latest`; not both");
            None
        }
        (event, None) => violations.keep(Id::parse(event, "up_to_event")).map(Trim::UpTo),
    };
    checked(scope.zip(trim), violations)
}

/// Summary of a session's older events.
pub(in crate::grpc) fn summarize(request: pb::SummarizeSessionRequest) -> Result<Summary, Error> {
    let mut violations = Violations::new();
    let pb::SummarizeSessionRequest { name, user, agent, workflow, .. } = &request;
    let scope = scope(name, "name", [user, agent, workflow], &mut violations);
    let space = space(&request.space, &mut violations);
    let up_to = violations.keep(Id::parse(&request.up_to_event, "up_to_event"));
    let (scope, up_to) = checked(scope.zip(up_to), violations)?;
    let summary = request.summary.unwrap_or_default();
    let memory = new_memory(&scope.owner.tenant, summary, "summary", now(), Kind::Summary)?;
    Ok(Summary { scope, space, up_to, memory })
}

/// Page as a message, whose token is valid for its session alone.
pub(in crate::grpc) fn events(
    request: &pb::ListSessionEventsRequest,
    page: EventPage,
) -> pb::ListSessionEventsResponse {
    let next_page_token = page.next.map_or_else(String::new, |next| page::encode(&list_of(request), next));
    pb::ListSessionEventsResponse {
        events: page.events.into_iter().map(|(_, event)| memory(event)).collect(),
        next_page_token,
    }
}

/// Result of a summary.
pub(in crate::grpc) fn summarized(scope: &Scope, summarized: Summarized) -> pb::SummarizeSessionResponse {
    pb::SummarizeSessionResponse {
        summary: Some(result(&scope.owner.tenant, 0, Ok(summarized.summary))),
        replaced_count: count(summarized.replaced),
    }
}

fn scope(name: &str, field: &str, [user, agent, workflow]: [&str; 3], violations: &mut Violations) -> Option<Scope> {
    let named = violations.keep(MemorySessionName::parse(name, field));
    let parent = named.as_ref().map_or_else(|| "tenants/any".to_owned(), |name| format!("tenants/{}", name.tenant));
    let session = named.as_ref().map_or("", |name| name.session.as_str());
    let scope = Sent { parent: &parent, user, agent, workflow, session, at: "" }.read(violations);
    named.and(scope)
}

fn list_of(request: &pb::ListSessionEventsRequest) -> String {
    format!("{}/{}", request.parent, request.user)
}
