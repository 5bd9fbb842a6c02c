//! The key that signs development tokens, and the master key of the vault, kept in the data
//! directory.

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

use vault::MasterKeys;

use crate::{
    config::{Place, Token},
    database::data_dir,
};

/// Names of the files in the data directory.
const FILE: &str = "token-key.pk8";
const VAULT_FILE: &str = "vault-key";

/// Whether a data directory has its key already.
pub fn exists(data_dir: &Path) -> bool {
    data_dir.join(FILE).exists()
}

/// Reads the key of a data directory, or makes it, readable by its owner only.
pub fn load(data_dir: &Path) -> anyhow::Result<TokenKeys> {
    let der = read_or_make(data_dir, FILE, || Ok(TokenKeys::generate()?.1))?;
    let keys = TokenKeys::from_pkcs8_der(&der);
    keys.with_context(|| format!("{} is damaged; delete it", data_dir.join(FILE).display()))
}

/// The master keys of the vault: those of the settings, else the one of the data directory, which
/// is made if it is missing.
pub fn vault(place: &Place) -> anyhow::Result<MasterKeys> {
    if let Some(keys) = &place.vault_key {
        return MasterKeys::parse(keys.expose()).context("CONCHE_VAULT_KEY");
    }
    let dir = data_dir(place);
    let text = read_or_make(&dir, VAULT_FILE, || Ok(MasterKeys::generate().1.into_bytes()))?;
    // Not to be deleted: what it opens is lost without it.
    let damaged = || format!("{} is damaged; bring it back", dir.join(VAULT_FILE).display());
    let text = String::from_utf8(text).map_err(|_| anyhow::anyhow!("it is no text"));
    MasterKeys::parse(&text.with_context(damaged)?).with_context(damaged)
}

/// The file of a data directory, made if it is missing, readable by its owner only.
fn read_or_make(
    data_dir: &Path,
    name: &str,
    make: impl FnOnce() -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Vec<u8>> {
    let path = data_dir.join(name);
    if let Some(content) = read(&path)? {
        return Ok(content);
    }
    fs::create_dir_all(data_dir).with_context(|| format!("making {}", data_dir.display()))?;
    // Written whole and then named: a reader sees all of it or nothing, and of two programs that
    // start at once the first one's key stays.
    let draft = data_dir.join(format!("{name}.{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    let mut file = options.open(&draft).with_context(|| format!("writing {}", draft.display()))?;
    file.write_all(&make()?)?;
    file.sync_all()?;
    let named = fs::hard_link(&draft, &path);
    fs::remove_file(&draft)?;
    match named {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("writing {}", path.display()));
        }
        _ => {}
    }
    // The name, too, has to be there after a crash: what is sealed from now on needs the key.
    fs::File::open(data_dir)?.sync_all()?;
    read(&path)?.with_context(|| format!("{} vanished while it was made", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
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

    #[test]
    fn the_master_key_is_made_once_is_private_and_gives_way_to_the_settings() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let place = |key: Option<&str>| Place {
            data_dir: Some(dir.path().to_owned()),
            vault_key: key.map(|key| key.parse().unwrap()),
            ..Place::default()
        };
        let made = format!("{:?}", vault(&place(None)).unwrap());
        assert_eq!(format!("{:?}", vault(&place(None)).unwrap()), made);
        let file = dir.path().join(VAULT_FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let (given, text) = MasterKeys::generate();
        assert_eq!(format!("{:?}", vault(&place(Some(&text))).unwrap()), format!("{given:?}"));

        let refused = format!("{:#}", vault(&place(Some("hunter2"))).unwrap_err());
        assert!(refused.contains("CONCHE_VAULT_KEY") && !refused.contains("hunter2"), "{refused}");
        assert!(!format!("{:?}", place(Some("hunter2"))).contains("hunter2"));
        fs::write(&file, b"rubbish").unwrap();
        let damaged = format!("{:#}", vault(&place(None)).unwrap_err());
        assert!(damaged.contains(VAULT_FILE) && !damaged.contains("rubbish"), "{damaged}");
    }
}
