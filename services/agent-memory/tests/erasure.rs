//! Erasures and exports: canaries are planted wherever a subject leaves traces, and both stores are searched for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::TryStreamExt as _;
use keyplane_agent_memory::app::capacity::{Capacity, Limits};
use keyplane_agent_memory::app::erase::Erase;
use keyplane_agent_memory::app::export::Export;
use keyplane_agent_memory::app::figures::Figures;
use keyplane_agent_memory::app::remember::Remember;
use keyplane_agent_memory::domain::erasure::{Erasure, Subject};
use keyplane_agent_memory::domain::{
    Draft, DraftPiece, Embedding, Kind, MemoryId, NewMemory, Owner, Scope, Space, SpaceId,
};
use keyplane_agent_memory::error::Error;
use keyplane_agent_memory::store::{Embeddings, Store, TextHash};
use keyplane_contracts::names::{Id, TenantId};
use keyplane_engine::Reply;
use keyplane_valkey::{App, Feature, Settings, Ttl, Valkey};

const PATIENCE: Duration = Duration::from_secs(20);
/// Part of every name and text of the subject.
const CANARY: &str = "canary7";

struct Rig {
    app: App,
    store: Store,
    cache: Embeddings,
    remember: Remember,
}

// === impl Rig ===

impl Rig {
    /// Store on which an owner of more than `whole` items is a large one.
    async fn start(whole: u64) -> Rig {
        let app = App::new(&keyplane_testkit::app()).expect("an app");
        let connect = async |url: String| {
            let valkey = Valkey::connect(&Settings::new(url), app.clone()).expect("settings");
            valkey.wait_ready(PATIENCE).await.expect("the store answers");
            valkey
        };
        let store = Store::new(connect(keyplane_testkit::search_engine().url()).await);
        store.check().await.expect("an engine with search");
        let ttl = Ttl::new(Feature::MEMORY, PATIENCE * 10).expect("a TTL");
        let cache = Embeddings::new(connect(keyplane_testkit::valkey().url()).await, ttl, 100);
        let limits = Limits { memories: 1_000, whole, ttl: PATIENCE * 100 };
        let capacity = Capacity::new(store.clone(), &[space()], limits.clone(), Figures::default());
        Rig { remember: Remember::new(store.clone(), capacity, limits), app, store, cache }
    }

    fn erase(&self) -> Erase {
        Erase::new(self.store.clone(), Some(self.cache.clone())).with_lease(Duration::from_millis(300))
    }

    async fn write(&self, scope: &Scope, memory: NewMemory) -> MemoryId {
        let hash = TextHash::new(&space(), "", &memory.text);
        self.cache.put(&scope.owner, &[(hash, &embedding())]).await.expect("cached");
        let written = self.remember.write(scope, vec![Ok(draft(memory))]).await.expect("the store answers");
        written.into_iter().next().expect("a result").expect("written").id
    }

    /// Runs an erasure to its end.
    async fn erased(&self, subject: Subject) -> Erasure {
        let erase = self.erase();
        let started = erase.start(&tenant(), subject).await.expect("started");
        self.finished(&erase, &started).await
    }

    async fn finished(&self, erase: &Erase, started: &Erasure) -> Erasure {
        let worker = tokio::spawn(erase.clone().run());
        let done = keyplane_testkit::eventually("the erasure ends", PATIENCE, async || {
            let erasure = erase.get(&tenant(), started.id).await.expect("the receipt");
            if erasure.finished.is_some() { Ok(erasure) } else { Err(erasure) }
        });
        let done = done.await;
        worker.abort();
        done
    }

    /// Ids of all memories of an owner.
    async fn left(&self, owner: &Owner) -> BTreeSet<MemoryId> {
        let records: Vec<_> = self.store.directory(owner).await.expect("a directory").records.into_keys().collect();
        let sessions = self.store.records(owner, &records).await.expect("records");
        sessions.iter().flat_map(|session| session.items.iter().map(|item| item.id)).collect()
    }

    async fn exported(&self, subject: Subject) -> BTreeSet<MemoryId> {
        let stream = Export::new(self.store.clone()).memories(tenant(), subject);
        let memories: Vec<_> = stream.try_collect().await.expect("the store answers");
        memories.into_iter().map(|memory| memory.id).collect()
    }

    /// Names and contents of all keys of the test, of both stores, in which one of `traces` stands.
    fn traces(&self, traces: &[String]) -> Vec<String> {
        let dump: Vec<String> = [keyplane_testkit::search_engine(), keyplane_testkit::valkey()]
            .into_iter()
            .flat_map(|server| dump(&|args| server.command(args).expect("a command"), self.app.as_str()))
            .collect();
        assert!(!dump.is_empty(), "the dump finds nothing at all");
        dump.into_iter().filter(|entry| traces.iter().any(|trace| entry.contains(trace))).collect()
    }
}

/// All keys of an app, each with its content.
fn dump(command: &dyn Fn(&[&str]) -> Reply, app: &str) -> Vec<String> {
    let pattern = format!("{app}:*");
    let (mut cursor, mut entries) = ("0".to_owned(), Vec::new());
    loop {
        let Reply::Array(page) = command(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", "1000"]) else {
            panic!("a page")
        };
        let [next, Reply::Array(keys)] = page.as_slice() else { panic!("{page:?}") };
        for key in keys.iter().filter_map(Reply::text) {
            let content = match command(&["TYPE", key]).text() {
                Some("hash") => command(&["HGETALL", key]),
                Some("zset") => command(&["ZRANGE", key, "0", "-1"]),
                Some("string") => command(&["GET", key]),
                other => panic!("a key of another type: {other:?}"),
            };
            entries.push(format!("{key} {content:?}"));
        }
        next.text().expect("a cursor").clone_into(&mut cursor);
        if cursor == "0" {
            return entries;
        }
    }
}

fn tenant() -> TenantId {
    TenantId::parse("acme", "tenant").expect("a tenant")
}

fn id(text: &str) -> Id {
    Id::parse(text, "id").expect("an id")
}

fn scope(user: Option<&str>, agent: Option<&str>, session: Option<&str>) -> Scope {
    let owner = Owner { tenant: tenant(), user: user.map(id) };
    Scope { owner, agent: agent.map(id), workflow: None, session: session.map(id) }
}

fn space() -> Space {
    Space { id: SpaceId::parse("tiny").expect("a space"), dimension: 8, ..Space::minilm() }
}

fn embedding() -> Embedding {
    let mut vector = vec![0.0; 8];
    vector[0] = 1.0;
    Embedding { vector, sketch: None, tokens: 1 }
}

fn memory(text: &str) -> NewMemory {
    NewMemory {
        kind: Kind::Semantic,
        text: text.to_owned(),
        speaker: text.into(),
        subject: "".into(),
        topics: vec![text.into()],
        entities: vec![text.into()],
        tags: vec![text.into()],
        metadata: BTreeMap::from([("note".to_owned(), text.to_owned())]),
        importance: 0.5,
        pinned: false,
        event_time: None,
        valid_from: None,
        valid_until: None,
        expires: None,
        reference: text.to_owned(),
        derived_from: Vec::new(),
        vector: None,
    }
}

fn summary(text: &str, of: &[MemoryId]) -> NewMemory {
    NewMemory { kind: Kind::Summary, derived_from: of.to_vec(), ..memory(text) }
}

fn draft(memory: NewMemory) -> Draft {
    // Near duplicates are told apart by their vectors.
    let hash = memory.text.bytes().fold(17_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let vector: Vec<f32> =
        (0..8).map(|bit| if hash >> bit & 1 == 1 { 0.125_f32.sqrt() } else { -0.125_f32.sqrt() }).collect();
    let embedding = Some(Embedding { vector, ..embedding() });
    Draft { memory, tokens: 3, space: Some(space()), pieces: vec![DraftPiece { piece: None, tokens: 3, embedding }] }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("a moment")
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_user_leaves_nothing_but_a_pseudonym() {
    let rig = Rig::start(3).await;
    let user = format!("ada-{CANARY}");
    let (ada, shared) = (scope(Some(&user), None, None), scope(None, None, None));
    let mut ids = Vec::new();
    for number in 0..8 {
        ids.push(rig.write(&ada, memory(&format!("{CANARY} fact {number} one{number} two{number}"))).await);
    }
    ids.push(
        rig.write(&scope(Some(&user), None, Some(&format!("talk-{CANARY}"))), memory(&format!("{CANARY} said"))).await,
    );
    let subject = NewMemory { subject: CANARY.into(), ..memory(&format!("{CANARY} lives here")) };
    ids.push(rig.write(&ada, subject.clone()).await);
    ids.push(rig.write(&ada, NewMemory { text: format!("{CANARY} moved away"), ..subject }).await);
    rig.store.recalled(&ada.owner, &[&format!("{CANARY} fact 0")], now()).await.expect("marked");
    let first = rig.write(&shared, summary(&format!("{CANARY} in short"), &ids[..2])).await;
    let second = rig.write(&shared, summary(&format!("{CANARY} shorter"), &[first])).await;
    keyplane_testkit::eventually("postings and vectors of the large owner stand", PATIENCE, async || {
        let directory = rig.store.directory(&ada.owner).await.expect("a directory");
        if directory.large { Ok(()) } else { Err(directory) }
    })
    .await;

    let kept = rig.write(&shared, memory("shared and unrelated")).await;
    let bob = scope(Some("bob"), None, None);
    let neighbour = rig.write(&bob, memory("of another user")).await;
    let expected: BTreeSet<MemoryId> = ids.iter().copied().chain([first, second]).collect();
    assert_eq!(rig.exported(Subject::User(id(&user))).await, expected);
    let traces: Vec<String> = expected.iter().map(MemoryId::to_string).chain([CANARY.to_owned()]).collect();
    assert!(rig.traces(&traces).len() > 20, "the canaries are planted");

    let receipt = rig.erased(Subject::User(id(&user))).await;
    assert_eq!(rig.traces(&traces), Vec::<String>::new());
    assert_eq!((receipt.removed.memories, receipt.removed.summaries), (ids.len() as u64, 2));
    assert!(receipt.removed.embeddings >= ids.len() as u64, "{receipt:?}");
    assert_eq!((receipt.subject.as_ref(), receipt.kind.as_str()), (None, "user"));
    assert!(receipt.pseudonym.names(&tenant(), &Subject::User(id(&user))));
    assert_eq!(rig.left(&shared.owner).await, BTreeSet::from([kept]));
    assert_eq!(rig.left(&bob.owner).await, BTreeSet::from([neighbour]));
    assert!(rig.exported(Subject::User(id(&user))).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_agent_and_session_leave_the_other_memories() {
    let rig = Rig::start(1_000).await;
    let mut of_agent = BTreeSet::new();
    for user in [Some("ada"), Some("bob"), None] {
        of_agent.insert(rig.write(&scope(user, Some("writer"), None), memory("made by the writer")).await);
    }
    let first = of_agent.first().copied().expect("a memory");
    let derived = rig.write(&scope(Some("ada"), None, None), summary("what the writer made", &[first])).await;
    let talk = rig.write(&scope(Some("ada"), None, Some("s1")), memory("said in the first session")).await;
    let other = rig.write(&scope(Some("ada"), None, Some("s2")), memory("said in the second session")).await;
    let bobs = rig.write(&scope(Some("bob"), None, Some("s1")), memory("said by bob")).await;

    let agent = Subject::Agent(id("writer"));
    assert_eq!(rig.exported(agent.clone()).await, of_agent.iter().copied().chain([derived]).collect());
    let receipt = rig.erased(agent).await;
    assert_eq!((receipt.removed.memories, receipt.removed.summaries), (3, 1));
    let ada = scope(Some("ada"), None, None).owner;
    let bob = scope(Some("bob"), None, None).owner;
    assert_eq!(rig.left(&ada).await, BTreeSet::from([talk, other]));

    let session = Subject::Session { user: Some(id("ada")), session: id("s1") };
    assert_eq!(rig.exported(session.clone()).await, BTreeSet::from([talk]));
    let receipt = rig.erased(session).await;
    assert_eq!(receipt.removed.memories, 1);
    assert_eq!(rig.left(&ada).await, BTreeSet::from([other]));
    assert_eq!(rig.left(&bob).await, BTreeSet::from([bobs]));
}

#[tokio::test(flavor = "multi_thread")]
async fn erasure_goes_on_after_a_crash() {
    let rig = Rig::start(1_000).await;
    let ada = scope(Some("ada"), None, None);
    for number in 0..40 {
        rig.write(&ada, memory(&format!("{CANARY} fact {number}"))).await;
    }
    let erase = rig.erase();
    let started = erase.start(&tenant(), Subject::User(id("ada"))).await.expect("started");
    // An instance claims the job, removes a part, and dies.
    let claimed = rig.store.claim_erasures(1, Duration::from_millis(300)).await.expect("claimed");
    assert_eq!(claimed, [(tenant(), started.id)]);
    let ids: Vec<MemoryId> = rig.left(&ada.owner).await.into_iter().take(20).collect();
    let part = rig.store.load(&tenant(), &ids).await.expect("memories").into_iter().flatten().collect();
    assert_eq!(rig.store.remove(&ada.owner, part, now()).await.expect("removed").len(), 20);
    let receipt = rig.finished(&erase, &started).await;
    assert_eq!(receipt.removed.memories, 20, "those after the crash");
    assert_eq!(rig.traces(&[CANARY.to_owned()]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_erasure_is_not_found() {
    let rig = Rig::start(1_000).await;
    let unknown = keyplane_agent_memory::domain::erasure::ErasureId::new([7; 16]);
    let error = rig.erase().get(&tenant(), unknown).await.unwrap_err();
    assert!(matches!(error, Error::ErasureNotFound { erasure } if erasure == unknown));
}
