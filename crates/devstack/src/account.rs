//! Which user a server runs as, and which folders that user can enter.
//!
//! PostgreSQL refuses to run as root. Where we are root (a container, a build machine), servers run as another
//! user; otherwise they run as ourselves.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use crate::Error;

/// The user and group of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// Whether this differs from the user we run as, so that files must be handed over.
    foreign: bool,
}

impl Account {
    /// The account for a server with this folder: ourselves, or where we are root the folder's present owner,
    /// or else the first of `names` that exists here.
    pub(crate) fn choose(folder: &Path, names: &[&str]) -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid != 0 {
            return Self { uid, gid, foreign: false };
        }
        if let Ok(found) = fs::metadata(folder)
            && found.uid() != 0
        {
            // A folder made before by an ordinary user stays that user's: PostgreSQL insists on its owner.
            return Self { uid: found.uid(), gid: found.gid(), foreign: true };
        }
        let (uid, gid) = names.iter().find_map(|name| ids(name)).unwrap_or((65534, 65534));
        Self { uid, gid, foreign: true }
    }

    /// Makes the command run as this account.
    pub(crate) fn apply(self, command: &mut tokio::process::Command) {
        if self.foreign {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Hands a file or folder that we made over to this account.
    pub(crate) fn own(self, path: &Path) -> Result<(), Error> {
        if self.foreign {
            chown(path, Some(self.uid), Some(self.gid)).map_err(Error::io("change the owner of", path))?;
        }
        Ok(())
    }

    /// Whether this account can pass through `folder` and everything above it.
    pub(crate) fn can_enter(self, folder: &Path) -> bool {
        !self.foreign
            || folder.ancestors().filter_map(|part| fs::metadata(part).ok()).all(|part| {
                let mine = part.uid() == self.uid && part.mode() & 0o100 != 0;
                mine || part.mode() & 0o001 != 0
            })
    }
}

/// User and group id of a local user. The servers' users are always local ones, made by their packages.
fn ids(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The folder for the data of `nuncio dev` run in `cwd`: `.nuncio` there, or, where we are root and the servers'
/// user could not enter that, one below `/var/lib/nuncio-dev` that is named after `cwd`.
pub fn default_folder(cwd: &Path) -> PathBuf {
    let here = cwd.join(".nuncio");
    if Account::choose(&here, &["postgres", "nobody"]).can_enter(cwd) {
        return here;
    }
    let name = cwd.to_string_lossy().trim_matches('/').replace('/', "-");
    Path::new("/var/lib/nuncio-dev").join(if name.is_empty() { "root" } else { &name })
}

/// A folder for temporary files that the servers' user can enter too.
pub(crate) fn scratch_base() -> PathBuf {
    let temporary = std::env::temp_dir();
    let account = Account::choose(Path::new("/"), &["postgres", "nobody"]);
    if account.can_enter(&temporary) { temporary } else { PathBuf::from("/tmp") }
}
