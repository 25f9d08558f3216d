//! Keys that projects publish as JSON Web Key Sets (RFC 7517): fetched when a token needs them, and kept.
//!
//! A set is asked for again every ten minutes, and when a token names a key that it does not hold, at most once in ten
//! seconds: all who wait for a fetch wait for the same one, and whoever comes after it has the answer that it gave. A
//! fetch runs on when those who waited for it have gone, so that nobody can cut it short for the others.

mod set;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use nuncio_model::{Clock, ProjectId};
use nuncio_store::{Directory, Project};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::outbound::{Outbound, OutboundError};
pub(super) use set::PublishedKey;

/// How old a set may be before it is asked for again.
const REFRESH_EVERY: TimeDelta = TimeDelta::minutes(10);
/// The shortest time between two fetches of a set.
const APART: TimeDelta = TimeDelta::seconds(10);
/// For how long a set is used when it cannot be asked for again.
const KEPT_FOR: TimeDelta = TimeDelta::days(1);
/// How often it is looked whether a set is due.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long a fetch may take.
const WITHIN: Duration = Duration::from_secs(5);
/// The largest set.
const MAX_BYTES: usize = 256 << 10;
/// What is asked for; the second is the type's own name (RFC 7517, section 8.5.2).
const ACCEPT: &str = "application/json, application/jwk-set+json";

/// The sets that this node knows. Cheap to clone.
#[derive(Clone)]
pub struct Jwks(Arc<Shared>);

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwks")
    }
}

struct Shared {
    outbound: Outbound,
    directory: Directory,
    clock: Clock,
    tasks: TaskTracker,
    known: Mutex<HashMap<ProjectId, Known>>,
}

/// What is known of a project's set.
struct Known {
    url: String,
    keys: Vec<Arc<PublishedKey>>,
    /// When it was last read.
    read_at: Option<DateTime<Utc>>,
    /// When it was last asked for.
    asked_at: Option<DateTime<Utc>>,
    /// Why it could not be read the last time.
    problem: Option<String>,
    /// Closed when the fetch that is under way ends.
    flight: Option<watch::Receiver<()>>,
}

/// How a project's set stands, for administrators.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// When it was last read.
    pub(crate) read_at: Option<DateTime<Utc>>,
    /// Why it could not be read the last time it was asked for.
    pub(crate) problem: Option<String>,
}

impl Jwks {
    /// Knows nothing yet. `allow_private` lets sets be fetched from this network.
    pub(crate) fn new(allow_private: bool, directory: Directory, clock: Clock, tasks: TaskTracker) -> Self {
        let outbound = Outbound::new(allow_private, WITHIN);
        Self(Arc::new(Shared { outbound, directory, clock, tasks, known: Mutex::default() }))
    }

    /// Judges the address of a set before it is stored.
    ///
    /// # Errors
    /// With what is wrong, as the end of a sentence that begins with the address.
    pub(crate) fn check_address(&self, url: &str) -> Result<(), &'static str> {
        self.0.outbound.address(url).map(drop)
    }

    /// The key that a token names, or the only one where it names none. It waits for a fetch where the set is not known,
    /// or holds no such key and was not asked for just now.
    pub(super) async fn find(&self, project: &Project, kid: Option<&str>) -> Option<Arc<PublishedKey>> {
        let url = project.jwks_url.as_ref()?;
        let mut flight = {
            let now = self.0.clock.now();
            let mut known = self.0.known.lock();
            let set = known.entry(project.id).or_insert_with(|| Known::at(url));
            if set.url != *url {
                *set = Known::at(url);
            }
            let found = set.find(kid, now);
            let due = if found.is_some() { set.is_due(now) } else { set.may_be_asked(now) };
            if due {
                self.fetch(project.id, set, now);
            }
            match (&set.flight, found) {
                (_, Some(found)) => return Some(found),
                (None, None) => return None,
                (Some(flight), None) => flight.clone(),
            }
        };
        // It says nothing: it is closed.
        let _ = flight.changed().await;
        self.held(project, kid)
    }

    /// The same, of what is known now.
    fn held(&self, project: &Project, kid: Option<&str>) -> Option<Arc<PublishedKey>> {
        let known = self.0.known.lock();
        let set = known.get(&project.id).filter(|set| Some(&set.url) == project.jwks_url.as_ref())?;
        set.find(kid, self.0.clock.now())
    }

    /// Whether the project's set still holds the key of this id, which is empty where it has none.
    pub(super) fn holds(&self, project: &Project, kid: &str) -> bool {
        self.held(project, (!kid.is_empty()).then_some(kid)).is_some()
    }

    /// How the project's set stands, where it has been asked for.
    pub(crate) fn state(&self, project: &Project) -> Option<State> {
        let known = self.0.known.lock();
        let set = known.get(&project.id).filter(|set| Some(&set.url) == project.jwks_url.as_ref())?;
        Some(State { read_at: set.read_at, problem: set.problem.clone() })
    }

    /// Keeps the sets up to date that have been asked for, until told to stop.
    pub(crate) async fn keep(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            self.look();
        }
    }

    fn look(&self) {
        let (now, snapshot) = (self.0.clock.now(), self.0.directory.snapshot());
        let mut known = self.0.known.lock();
        known.retain(|project, set| {
            snapshot
                .project_by_id(*project)
                .is_some_and(|project| project.jwks_url.as_ref() == Some(&set.url))
        });
        let mut ended = false;
        for (project, set) in &mut *known {
            if set.is_due(now) {
                self.fetch(*project, set, now);
            }
            if !set.keys.is_empty() && !set.is_good(now) {
                set.keys.clear();
                ended = true;
            }
        }
        drop(known);
        if ended {
            // What is open with tokens of these keys ends.
            self.0.directory.ring();
        }
    }

    /// Begins a fetch in a task of its own.
    fn fetch(&self, project: ProjectId, set: &mut Known, now: DateTime<Utc>) {
        let (under_way, flight) = watch::channel(());
        (set.asked_at, set.flight) = (Some(now), Some(flight));
        let (jwks, url) = (self.clone(), set.url.clone());
        self.0.tasks.spawn(async move {
            let got = jwks.get(&url).await;
            jwks.take(project, &url, got);
            drop(under_way);
        });
    }

    async fn get(&self, url: &str) -> Result<Vec<PublishedKey>, String> {
        let body = self.0.outbound.get(url, ACCEPT, MAX_BYTES).await.map_err(|error| {
            if let OutboundError::Unreachable(cause) = &error {
                tracing::debug!(error = ?cause, "a set of keys could not be fetched");
            }
            error.to_string()
        })?;
        set::read(&body).map_err(str::to_owned)
    }

    fn take(&self, project: ProjectId, url: &str, got: Result<Vec<PublishedKey>, String>) {
        let mut known = self.0.known.lock();
        // It may have been given up for another address meanwhile.
        let Some(set) = known.get_mut(&project).filter(|set| set.url == url) else { return };
        set.flight = None;
        let keys = match got {
            Ok(keys) => keys,
            Err(problem) => {
                tracing::warn!(project = project.0, problem, "a project's set of keys could not be read");
                set.problem = Some(problem);
                return;
            }
        };
        let gone = set.keys.iter().any(|old| !keys.iter().any(|new| *new == **old));
        set.keys = keys.into_iter().map(Arc::new).collect();
        (set.read_at, set.problem) = (Some(self.0.clock.now()), None);
        drop(known);
        if gone {
            self.0.directory.ring();
        }
    }
}

impl Known {
    fn at(url: &str) -> Self {
        let url = url.to_owned();
        Self { url, keys: Vec::new(), read_at: None, asked_at: None, problem: None, flight: None }
    }

    fn find(&self, kid: Option<&str>, now: DateTime<Utc>) -> Option<Arc<PublishedKey>> {
        let keys = if self.is_good(now) { self.keys.as_slice() } else { &[] };
        match (kid, keys) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)).cloned(),
            // Nothing is tried out.
            (None, [key]) => Some(key.clone()),
            (None, _) => None,
        }
    }

    /// Whether it was read lately enough to be used.
    fn is_good(&self, now: DateTime<Utc>) -> bool {
        self.read_at.is_some_and(|read_at| now - read_at < KEPT_FOR)
    }

    fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.read_at.is_none_or(|read_at| (now - read_at).abs() >= REFRESH_EVERY) && self.may_be_asked(now)
    }

    /// Whether no fetch is under way, and the last began long enough ago, by a clock that may be set back.
    fn may_be_asked(&self, now: DateTime<Utc>) -> bool {
        // A flight that closed without a word ended in a panic.
        let flies = self.flight.as_ref().is_some_and(|flight| flight.has_changed().is_ok());
        !flies && self.asked_at.is_none_or(|asked_at| (now - asked_at).abs() >= APART)
    }
}
