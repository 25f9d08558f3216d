//! The project `demo`, with keys that stay the same from start to start.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nuncio_model::rights::Rights;
use nuncio_model::{Clock, NamespaceSettings, ProjectName, Secret, ids};
use nuncio_runtime::Config;
use nuncio_store::{Directory, NewApiKey, NewProject, Project, Role, Store};
use serde::{Deserialize, Serialize};

use crate::app;
use crate::exit::Failure;

/// The file that keeps the secrets of `nuncio dev`, readable by its user alone.
const KEYS_FILE: &str = "keys.json";

/// How long the printed token is good for.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// What is kept from start to start.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Kept {
    pub(crate) secret_key: String,
    api_key: String,
    admin_key: String,
}

impl Kept {
    /// What was kept before, or a new secret key and no keys yet.
    pub(crate) fn load(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(KEYS_FILE);
        let mut kept = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                Failure::Config(format!("{}: {error}; remove it to get new keys", path.display()))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(Failure::Other(format!("{}: {error}", path.display()))),
        };
        if kept.secret_key.is_empty() {
            kept.secret_key = ids::random_text(48);
            kept.save(folder)?;
        }
        Ok(kept)
    }

    fn save(&self, folder: &Path) -> Result<(), Failure> {
        write_private(&folder.join(KEYS_FILE), &serde_json::to_vec_pretty(self).map_err(Failure::other)?)
    }
}

/// The demo project and what opens it.
pub(crate) struct Demo {
    pub(crate) project: ProjectName,
    pub(crate) api_key: String,
    pub(crate) admin_key: String,
    pub(crate) token: String,
}

/// Brings the schema up to date and makes whatever of the demo project is not there yet.
pub(crate) async fn prepare(config: &Config, folder: &Path, mut kept: Kept) -> Result<Demo, Failure> {
    let store = app::connect_store(config).await?;
    store.migrate().await?;
    let directory = Directory::load(store.clone()).await?;
    let name = ProjectName::parse("demo").map_err(Failure::other)?;
    if directory.snapshot().project(&name).is_none() {
        let (audience, allowed_origins) = (None, vec!["*".to_owned()]);
        let defaults = NamespaceSettings::default();
        let (issuer, jwks_url) = (None, None);
        let name = name.clone();
        let new = NewProject { name, audience, issuer, jwks_url, allowed_origins, defaults };
        store.create_project(&new).await?;
        directory.refresh().await?;
    }
    let project = find(&directory, &name)?;
    if project.signing_keys.is_empty() {
        let secret = Secret::new(ids::random_text(48));
        store
            .create_signing_key(project.id, &format!("dev-{}", ids::random_text(6)), "HS256", &secret)
            .await?;
    }
    make_keys(&store, &directory, &project, &mut kept).await?;
    kept.save(folder)?;
    directory.refresh().await?;
    let key = find(&directory, &name)?.signing_keys.first().cloned();
    let key =
        key.ok_or_else(|| Failure::Other("the signing key of the project demo cannot be read".to_owned()))?;
    let now = Clock::system().now();
    let token = nuncio_api::mint_token(&name, &key, "dev", &Rights::everything(), now, TOKEN_LIFETIME);
    let token = token.map_err(Failure::other)?;
    store.close().await;
    Ok(Demo { project: name, api_key: kept.api_key, admin_key: kept.admin_key, token })
}

fn find(directory: &Directory, name: &ProjectName) -> Result<Project, Failure> {
    let project = directory.snapshot().project(name).map(|project| Project::clone(project));
    project.ok_or_else(|| Failure::Other("the project demo is not there".to_owned()))
}

/// Keeps the keys that still open something, and makes those that do not anew.
async fn make_keys(
    store: &Store,
    directory: &Directory,
    project: &Project,
    kept: &mut Kept,
) -> Result<(), Failure> {
    let snapshot = directory.snapshot();
    if snapshot.api_key(&kept.api_key).is_none_or(|(key, _)| key.project != project.id) {
        let new = NewApiKey {
            label: "nuncio dev".to_owned(),
            rights: Rights::everything(),
            ..NewApiKey::default()
        };
        kept.api_key = store.create_api_key(project.id, &new).await?.1.expose().to_owned();
    }
    if snapshot.admin_key(&kept.admin_key).is_none() {
        kept.admin_key = store.create_admin_key("nuncio dev", Role::Owner).await?.expose().to_owned();
    }
    Ok(())
}

/// Writes a file that only its user may read. A reader sees the old text or the new one, never half of it.
pub(crate) fn write_private(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::Other(format!("{}: {error}", path.display()));
    let draft = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed)?;
    file.write_all(text).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)
}
