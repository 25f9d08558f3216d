//! What every node knows by heart: projects, their settings and keys. No request waits for the database to learn them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use nuncio_model::{Channel, NamespaceSettings, ProjectId, ProjectName, Revocations, Rules};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::api_keys::KnownKey;
use crate::closed::{Doubts, tell};
use crate::edition::{Edition, editions};
use crate::freshness::Freshness;
use crate::keys::prefix_of;
use crate::{
    AdminKey, ApiKey, Closed, Error, KeyMaterial, ProjectRow, RateLimits, Result, Revocation, Store, crypto,
};

/// How often a node looks whether something was changed.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// How soon it looks again where it had no answer.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long a look may take, and how long it may wait for others. Two that hang still leave the time for a third before
/// the node counts as cut off.
const LOOK_WITHIN: Duration = Duration::from_millis(1_200);
/// How long all settings may take to be read.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// What a text is compared with that begins like no key.
const NO_HASH: [u8; 32] = [0; 32];

/// A project with its settings.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its number.
    pub id: ProjectId,
    /// Its name.
    pub name: ProjectName,
    /// The audience its tokens may carry besides `nuncio:<name>`.
    pub audience: Option<String>,
    /// The `iss` that its tokens must carry, where it is set.
    pub issuer: Option<String>,
    /// Where the public keys of its tokens are published besides its signing keys.
    pub jwks_url: Option<String>,
    /// The origins of the web pages that may use it; `*` is all.
    pub allowed_origins: Vec<String>,
    /// The settings of namespaces that were not made.
    pub defaults: Rules,
    /// The settings of those that were.
    pub namespaces: HashMap<String, Rules>,
    /// The keys its tokens may be signed with.
    pub signing_keys: Vec<SigningKey>,
    /// How often what may be done in it.
    pub rate_limits: RateLimits,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Raised by every change of the project itself.
    pub version: i64,
}

impl Project {
    /// The settings in force for a channel.
    pub fn settings(&self, channel: &Channel) -> &NamespaceSettings {
        &self.rules(channel).settings
    }

    /// The same, ready for the check of what is published.
    pub fn rules(&self, channel: &Channel) -> &Rules {
        self.namespaces.get(channel.namespace()).unwrap_or(&self.defaults)
    }
}

/// A key that tokens may be signed with.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Its number.
    pub id: i64,
    /// The id that a token's header names.
    pub kid: String,
    /// The one algorithm it is used with.
    pub algorithm: String,
    /// The secret, or the public key.
    pub material: KeyMaterial,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// The settings as they were at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    version: i64,
    /// When the first of the signing keys ends: what was read before is then no longer true, though nothing was changed.
    /// Where something could not be read, a second from then: whoever mends a row by hand raises no version.
    good_until: Option<DateTime<Utc>>,
    projects: HashMap<ProjectId, Arc<Project>>,
    by_name: HashMap<ProjectName, ProjectId>,
    by_audience: HashMap<String, ProjectId>,
    /// What stands on the lists of all projects.
    origins: HashSet<String>,
    api_keys: HashMap<String, ApiKey>,
    admin_keys: HashMap<String, AdminKey>,
    revocations: HashMap<ProjectId, Revocations>,
    ended_signing_keys: HashSet<(ProjectId, String)>,
    editions: HashMap<ProjectId, Edition>,
    /// They stand in none of the maps above.
    closed: HashMap<ProjectId, Closed>,
    closed_keys: HashMap<String, KnownKey>,
}

impl Snapshot {
    /// All projects.
    pub fn projects(&self) -> impl Iterator<Item = &Arc<Project>> {
        self.projects.values()
    }

    /// The project of this name.
    pub fn project(&self, name: &ProjectName) -> Option<&Arc<Project>> {
        self.projects.get(self.by_name.get(name)?)
    }

    /// The project of this number.
    pub fn project_by_id(&self, id: ProjectId) -> Option<&Arc<Project>> {
        self.projects.get(&id)
    }

    /// The project that a token for this audience belongs to.
    pub fn project_by_audience(&self, audience: &str) -> Option<&Arc<Project>> {
        match audience.strip_prefix("nuncio:") {
            Some(name) => self.project(&ProjectName::parse(name).ok()?),
            None => self.projects.get(self.by_audience.get(audience)?),
        }
    }

    /// Whether this stands on the list of origins of any project.
    pub fn any_lists_origin(&self, origin: &str) -> bool {
        self.origins.contains(origin)
    }

    /// The API key that this is the text of, unless it was revoked. Whether it has ended is for the caller's clock.
    pub fn api_key(&self, text: &str) -> Option<(&ApiKey, &Arc<Project>)> {
        let key = known(text, &self.api_keys, ApiKey::hash)?;
        Some((key, self.projects.get(&key.project)?))
    }

    /// The API key that is named by this prefix, unless it was revoked: a name proves nothing.
    pub fn api_key_of_prefix(&self, prefix: &str) -> Option<(&ApiKey, &Arc<Project>)> {
        let key = self.api_keys.get(prefix)?;
        Some((key, self.projects.get(&key.project)?))
    }

    /// What the project has revoked of tokens, if anything.
    pub fn revocations(&self, project: ProjectId) -> Option<&Revocations> {
        self.revocations.get(&project)
    }

    /// Whether a signing key of this id is none of the project's any more as it has ended, and not as it was revoked.
    pub fn signing_key_has_ended(&self, project: ProjectId, kid: &str) -> bool {
        self.ended_signing_keys.contains(&(project, kid.to_owned()))
    }

    /// What the project's credentials are judged by, all of it: while this is the same, so is every judgement that does
    /// not depend on the time. None where there is no such project.
    pub fn edition(&self, project: ProjectId) -> Option<Edition> {
        self.editions.get(&project).copied()
    }

    /// All projects that are closed.
    pub fn all_closed(&self) -> impl Iterator<Item = (ProjectId, &Closed)> {
        self.closed.iter().map(|(id, closed)| (*id, closed))
    }

    /// The project of this number, where it is closed.
    pub fn closed(&self, project: ProjectId) -> Option<&Closed> {
        self.closed.get(&project)
    }

    /// The project of this name, where it is closed.
    pub fn closed_by_name(&self, name: &ProjectName) -> Option<(ProjectId, &Closed)> {
        self.closed_where(|closed| closed.name.as_ref() == Some(name))
    }

    /// The project that a token for this audience belongs to, where it is closed.
    pub fn closed_by_audience(&self, audience: &str) -> Option<(ProjectId, &Closed)> {
        match audience.strip_prefix("nuncio:") {
            Some(name) => self.closed_by_name(&ProjectName::parse(name).ok()?),
            None => self.closed_where(|closed| closed.audience.as_deref() == Some(audience)),
        }
    }

    /// The project of the API key that this is the text of, where it is closed.
    pub fn closed_by_api_key(&self, text: &str) -> Option<&Closed> {
        self.closed.get(&known(text, &self.closed_keys, KnownKey::hash)?.project)
    }

    /// Closed ones are few: they need no index.
    fn closed_where(&self, is_it: impl Fn(&Closed) -> bool) -> Option<(ProjectId, &Closed)> {
        self.closed.iter().find(|(_, closed)| is_it(closed)).map(|(id, closed)| (*id, closed))
    }

    /// The admin key that this is the text of, unless it was revoked. Whether it has ended is for the caller's clock.
    pub fn admin_key(&self, text: &str) -> Option<&AdminKey> {
        known(text, &self.admin_keys, AdminKey::hash)
    }
}

/// The key that this is the text of. One whose beginning nobody has costs the same as one whose end is wrong.
fn known<'a, K>(text: &str, keys: &'a HashMap<String, K>, hash: fn(&K) -> &[u8]) -> Option<&'a K> {
    let key = keys.get(prefix_of(text)?);
    let is_right = crypto::same(&crypto::hash(text), key.map_or(&NO_HASH, hash));
    key.filter(|_| is_right)
}

/// A node's copy of the settings, at most about a second old. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    /// A connection of its own: whatever others do with theirs, it is known in time what is in force. One refresh after
    /// the other, so that none puts what it read before another over what that one has read.
    store: Arc<Mutex<Store>>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    changes: watch::Sender<i64>,
    freshness: Freshness,
}

impl Directory {
    /// Reads the settings for the first time.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn load(store: Store) -> Result<Self> {
        let store = Arc::new(Mutex::new(store.aside()));
        let (changes, freshness) = (watch::Sender::default(), Freshness::default());
        let directory = Self { store, snapshot: Arc::default(), changes, freshness };
        directory.refresh().await?;
        Ok(directory)
    }

    /// The settings now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Rings whenever the settings are others than before; the number is their version.
    pub fn changes(&self) -> watch::Receiver<i64> {
        self.changes.subscribe()
    }

    /// Whether the settings are known to be those in force.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Rings as if the settings had changed: for what depends on more than they hold.
    pub fn ring(&self) {
        self.changes.send_modify(|_| {});
    }

    /// Reads the settings anew where they were changed, or a signing key has ended.
    ///
    /// # Errors
    /// Where the database cannot be asked, or not in time; the settings known before stay.
    pub async fn refresh(&self) -> Result<()> {
        let mut store = timeout(LOOK_WITHIN, self.store.lock()).await.map_err(late)?;
        let mut looked = self.look(&store).await;
        if looked.as_ref().is_err_and(Error::is_unavailable) {
            // Whatever the connection waits for, a new one does not.
            *store = store.aside();
            looked = self.look(&store).await;
        }
        looked
    }

    async fn look(&self, store: &Store) -> Result<()> {
        let began = Instant::now();
        let look = sqlx::query_as("select version, now() from settings_version").fetch_one(&store.append);
        let (version, now): (i64, DateTime<Utc>) = timeout(LOOK_WITHIN, look).await.map_err(late)??;
        let known = self.snapshot.load();
        if version != known.version || known.good_until.is_some_and(|end| end <= now) {
            // What is changed while this reads raises the version again, and is read the next time.
            let before = self.snapshot.load_full();
            let snapshot =
                timeout(READ_WITHIN, read(store, (version, now), &before)).await.map_err(late)??;
            tell(&snapshot.closed, &before.closed);
            let is_new = version != before.version
                || snapshot.editions != before.editions
                || snapshot.closed != before.closed;
            self.snapshot.store(Arc::new(snapshot));
            if is_new {
                self.changes.send_replace(version);
            }
        }
        self.freshness.confirm(began);
        Ok(())
    }

    /// Keeps the settings up to date until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        self.freshness.keep();
        let keep = async {
            let mut away = false;
            loop {
                tokio::time::sleep(if away { AGAIN_AFTER } else { REFRESH_EVERY }).await;
                let failed = self.refresh().await.err();
                if let (Some(error), false) = (&failed, away) {
                    let error = error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "the settings could not be refreshed; those known before stay in force"
                    );
                }
                away = failed.is_some();
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = keep => {}
            () = self.freshness.watch() => {}
        }
    }
}

fn late(_: tokio::time::error::Elapsed) -> Error {
    Error::Unavailable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
}

/// Reads all settings. What was compiled for the snapshot before is kept where it was not changed.
async fn read(store: &Store, at: (i64, DateTime<Utc>), before: &Snapshot) -> Result<Snapshot> {
    let mut doubts = Doubts::default();
    let mut known = HashMap::new();
    let mut projects: HashMap<ProjectId, Project> = HashMap::new();
    for (id, what_is_known, row) in store.all_projects().await? {
        known.insert(id, what_is_known);
        let row = doubts.sift(id, row);
        projects.extend(row.map(|row| (id, bare(row, before.projects.get(&id)))));
    }
    for (id, name, settings) in store.all_namespaces().await? {
        let settings = doubts.sift(id, settings);
        if let (Some(project), Some(settings)) = (projects.get_mut(&id), settings) {
            let known = before.projects.get(&id).and_then(|project| project.namespaces.get(&name));
            let rules = Rules::after(known, settings);
            project.namespaces.insert(name, rules);
        }
    }
    let mut ends = Vec::new();
    for (project, key) in store.live_signing_keys().await? {
        ends.extend(key.expires_at);
        if let Some(project) = projects.get_mut(&project) {
            project.signing_keys.push(key);
        }
    }
    // After those in force: one that ends in between is in both, and is looked at again at once.
    let ended = store.ended_signing_keys().await?;
    for (id, limit) in store.all_rate_limits().await? {
        let limit = doubts.sift(id, limit);
        if let (Some(project), Some((action, rule))) = (projects.get_mut(&id), limit) {
            project.rate_limits.add(action, rule);
        }
    }
    let (mut api_keys, mut keys) = (Vec::new(), Vec::new());
    for (key, read) in store.live_api_keys().await? {
        api_keys.extend(doubts.sift(key.project, read));
        keys.push(key);
    }
    let live = store.live_revocations().await?;
    let live: Vec<Revocation> = live.into_iter().filter_map(|(id, read)| doubts.sift(id, read)).collect();
    let closed = close(doubts, known);
    // A closed project is in no other map: nobody can forget to ask.
    projects.retain(|id, _| !closed.contains_key(id));
    api_keys.retain(|key| !closed.contains_key(&key.project));
    keys.retain(|key| closed.contains_key(&key.project));
    ends.extend((!closed.is_empty()).then(|| at.1 + REFRESH_EVERY));
    let editions = editions(projects.values(), &api_keys, &live);
    let mut revocations: HashMap<ProjectId, Revocations> = HashMap::new();
    for revocation in live {
        revocations.entry(revocation.project).or_default().add(revocation.revoked, revocation.expires_at);
    }
    let by_prefix = |key: ApiKey| (key.prefix.clone(), key);
    Ok(Snapshot {
        version: at.0,
        good_until: ends.into_iter().min(),
        revocations,
        ended_signing_keys: ended.into_iter().map(|(project, kid)| (ProjectId(project), kid)).collect(),
        editions,
        closed,
        closed_keys: keys.into_iter().map(|key| (key.prefix.clone(), key)).collect(),
        by_name: projects.values().map(|project| (project.name.clone(), project.id)).collect(),
        origins: projects.values().flat_map(|project| project.allowed_origins.iter().cloned()).collect(),
        by_audience: projects.values().filter_map(|p| Some((p.audience.clone()?, p.id))).collect(),
        api_keys: api_keys.into_iter().map(by_prefix).collect(),
        admin_keys: store.live_admin_keys().await?.into_iter().map(|key| (key.prefix.clone(), key)).collect(),
        projects: projects.into_iter().map(|(id, project)| (id, Arc::new(project))).collect(),
    })
}

/// A project with what stands in its own row.
fn bare(row: ProjectRow, before: Option<&Arc<Project>>) -> Project {
    Project {
        id: row.id,
        name: row.name,
        audience: row.audience,
        issuer: row.issuer,
        jwks_url: row.jwks_url,
        allowed_origins: row.allowed_origins,
        defaults: Rules::after(before.map(|project| &project.defaults), row.defaults),
        namespaces: HashMap::new(),
        signing_keys: Vec::new(),
        rate_limits: RateLimits::default(),
        created_at: row.created_at,
        version: row.version,
    }
}

/// The projects that cannot be read as a whole. One that was removed while they were read is none.
fn close(doubts: Doubts, mut known: HashMap<ProjectId, Closed>) -> HashMap<ProjectId, Closed> {
    let closed = doubts.into_inner().into_iter();
    closed.filter_map(|(id, unreadable)| Some((id, Closed { unreadable, ..known.remove(&id)? }))).collect()
}
