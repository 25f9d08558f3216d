//! A server's folder: who may use it, and the small files that we keep in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::account::{Account, scratch_base};
use crate::{Error, process};

/// How long a server of a process that has died may take to end, before its folder counts as still in use.
const HANDOVER: Duration = Duration::from_secs(20);

/// A folder that this process alone uses while it holds this value.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) account: Account,
    /// Removed with everything in it when the server ends.
    pub(crate) scratch: bool,
    lock: File,
}

impl Folder {
    /// Takes the folder for this process, making it where it does not exist.
    pub(crate) async fn take(path: PathBuf, scratch: bool, users: &[&str]) -> Result<Self, Error> {
        let path = std::path::absolute(&path).map_err(Error::io("find", &path))?;
        let account = Account::choose(&path, users);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
            if !account.can_enter(parent) {
                return Err(Error::CannotEnter { folder: path });
            }
        }
        make_folder(&path, account)?;
        let lock = lock(&path).await?;
        Ok(Self { path, account, scratch, lock })
    }

    /// A name for a folder that is thrown away, where the servers' user can reach it.
    pub(crate) fn scratch_path(kind: &str) -> Result<PathBuf, Error> {
        Ok(scratch_base().join(format!("nuncio-{kind}-{}", random_hex(8)?)))
    }

    /// A second handle on the lock: the folder stays locked until every handle is closed.
    pub(crate) fn share_lock(&self) -> Result<File, Error> {
        self.lock.try_clone().map_err(Error::io("share the lock of", &self.path))
    }

    /// Makes a subfolder that only the server's account can use.
    pub(crate) fn subfolder(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        make_folder(&path, self.account)?;
        Ok(path)
    }

    /// Writes a file that only the server's account can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("write", &path))?;
        file.write_all(text.as_bytes()).map_err(Error::io("write", &path))?;
        self.account.own(&path)?;
        Ok(path)
    }

    /// A file's text without the line break at its end, if there is such a file.
    pub(crate) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path.join(name)).ok().map(|text| text.trim_end().to_owned())
    }

    /// The password kept here, made at the first call.
    pub(crate) fn password(&self) -> Result<String, Error> {
        if let Some(kept) = self.read("password").filter(|kept| !kept.is_empty()) {
            return Ok(kept);
        }
        let made = random_hex(16)?;
        self.write("password", &made)?;
        Ok(made)
    }
}

impl Drop for Folder {
    /// Lets go by name: from here on the lock is only the watcher's, and a new start waits for it.
    fn drop(&mut self) {
        let _best_effort = self.lock.set_len(0);
    }
}

fn make_folder(path: &Path, account: Account) -> Result<(), Error> {
    if !path.is_dir() {
        fs::DirBuilder::new().mode(0o700).create(path).map_err(Error::io("make", path))?;
        account.own(path)?;
    }
    Ok(())
}

/// Locks the folder. The lock file names the process that holds it; a lock whose holder is dead is held by that
/// process's watcher, which is ending the server, and is waited for.
async fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(Error::io("open", &path))?;
    let deadline = Instant::now() + HANDOVER;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(cause)) => return Err(Error::io("lock", &path)(cause)),
            Err(TryLockError::WouldBlock) => {}
        }
        let holder = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        if process::live_name(holder).is_some() || Instant::now() > deadline {
            return Err(Error::InUse { folder: folder.to_owned(), pid: holder });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    file.set_len(0).map_err(Error::io("write", &path))?;
    writeln!(file, "{}", std::process::id()).map_err(Error::io("write", &path))?;
    Ok(file)
}

/// Random bytes from the operating system, as hexadecimal digits.
pub(crate) fn random_hex(bytes: usize) -> Result<String, Error> {
    let source = Path::new("/dev/urandom");
    let mut buffer = vec![0; bytes];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut buffer))
        .map_err(Error::io("read", source))?;
    Ok(buffer.iter().map(|byte| format!("{byte:02x}")).collect())
}
