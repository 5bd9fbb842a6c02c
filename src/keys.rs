//! The key that signs development tokens, kept in the data directory.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use api_kit::{Permission, TokenKeys, TokenRequest};
use chrono::{DateTime, TimeDelta, Utc};
use event_schemas::ids::{ActorId, StoreId};

use crate::config::Token;

/// Name of the file in the data directory.
const FILE: &str = "token-key.pk8";

/// Whether a data directory has its key already.
pub fn exists(data_dir: &Path) -> bool {
    data_dir.join(FILE).exists()
}

/// Reads the key of a data directory, or makes it, readable by its owner only.
pub fn load(data_dir: &Path) -> anyhow::Result<TokenKeys> {
    let path = data_dir.join(FILE);
    if let Some(keys) = read(&path)? {
        return Ok(keys);
    }
    fs::create_dir_all(data_dir).with_context(|| format!("making {}", data_dir.display()))?;
    let (_, der) = TokenKeys::generate()?;
    // Written whole and then named: a reader sees all of it or nothing, and of two programs that
    // start at once the first one's key stays.
    let draft = data_dir.join(format!("{FILE}.{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    let mut file = options.open(&draft).with_context(|| format!("writing {}", draft.display()))?;
    file.write_all(&der)?;
    file.sync_all()?;
    let named = fs::hard_link(&draft, &path);
    fs::remove_file(&draft)?;
    match named {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("writing {}", path.display()));
        }
        _ => {}
    }
    read(&path)?.with_context(|| format!("{} vanished while it was made", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Option<TokenKeys>> {
    match fs::read(path) {
        Ok(der) => {
            let keys = TokenKeys::from_pkcs8_der(&der);
            keys.map(Some).with_context(|| format!("{} is damaged; delete it", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Signs a development token as asked.
pub fn issue(keys: &TokenKeys, wanted: &Token, now: DateTime<Utc>) -> String {
    let permissions = match wanted.permissions.as_slice() {
        [] => Permission::ALL.to_vec(),
        some => some.to_vec(),
    };
    let request = TokenRequest {
        actor_id: ActorId::derive(&[b"developer", wanted.store.as_bytes()]),
        store_id: StoreId::of_slug(&wanted.store),
        store_slug: wanted.store.clone(),
        permissions,
        lifetime: TimeDelta::days(i64::from(wanted.days)),
    };
    keys.issue(&request, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let wanted = Token { store: "demo".into(), permissions: vec![], days: 1 };
        let now = DateTime::UNIX_EPOCH;
        let token = issue(&load(dir.path()).unwrap(), &wanted, now);
        assert!(load(dir.path()).unwrap().verify(&token, now).is_ok());
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), b"rubbish").unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("delete it"), "{error}");
    }
}
