//! Finding PostgreSQL's programs. Nothing here depends on them being on the `PATH`: Debian keeps
//! them off it on purpose.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{EmbeddedError, Settings};

/// The oldest major version the migrations are written for.
const OLDEST: u32 = 15;

/// A folder with `postgres` and `initdb` of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) bindir: PathBuf,
    pub(super) major: u32,
}

/// The newest version that is installed; for a cluster that exists (`version` is what its
/// `PG_VERSION` says), the one that made it.
pub(super) fn find(
    settings: &Settings,
    version: Option<&str>,
    cluster: &Path,
) -> Result<Binaries, EmbeddedError> {
    let all = installed(settings);
    let usable: Vec<&Binaries> = all.iter().filter(|it| it.major >= OLDEST).collect();
    let Some(newest) = usable.iter().max_by_key(|it| it.major) else {
        return Err(match &settings.pg_bindir {
            Some(bindir) => EmbeddedError::Bindir(bindir.clone()),
            None => EmbeddedError::NotInstalled { found: named(&all) },
        });
    };
    let Some(version) = version else { return Ok((*newest).clone()) };
    let same = usable.iter().find(|it| it.major.to_string() == version);
    same.map(|it| (*it).clone()).ok_or_else(|| EmbeddedError::OtherVersion {
        directory: cluster.to_owned(),
        cluster: version.to_owned(),
        installed: named(&all).unwrap_or_default(),
    })
}

/// "PostgreSQL 13 in /usr/lib/postgresql/13/bin, …"; `None` without any.
fn named(all: &[Binaries]) -> Option<String> {
    let one = |it: &Binaries| format!("PostgreSQL {} in {}", it.major, it.bindir.display());
    let names: Vec<String> = all.iter().map(one).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn installed(settings: &Settings) -> Vec<Binaries> {
    let folders = match &settings.pg_bindir {
        Some(bindir) => vec![bindir.clone()],
        None => usual_folders(settings),
    };
    folders
        .into_iter()
        .filter(|it| it.join("initdb").is_file())
        .filter_map(|bindir| Some(Binaries { major: major_version(&bindir)?, bindir }))
        .collect()
}

fn usual_folders(settings: &Settings) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    // Debian and its like; Red Hat's packages; Homebrew on both kinds of Mac; Postgres.app.
    for (parent, prefix, inside) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ] {
        folders.extend(children(Path::new(parent), prefix).map(|it| it.join(inside)));
    }
    folders.extend(["/usr/local/pgsql/bin", "/usr/local/bin"].map(PathBuf::from));
    folders.extend(settings.path.iter().flat_map(std::env::split_paths));
    folders
}

fn children(parent: &Path, prefix: &str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(move |it| it.file_name().to_string_lossy().starts_with(prefix))
        .map(|it| it.path())
}

/// Asks the program itself: a folder's name may lie.
fn major_version(bindir: &Path) -> Option<u32> {
    let output = Command::new(bindir.join("postgres")).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// The major version out of "postgres (PostgreSQL) 17.2 (Debian 17.2-1)" or "… 18beta1".
fn parse_version(text: &str) -> Option<u32> {
    let number = text.split_once("(PostgreSQL) ")?.1;
    let end = number.find(|it: char| !it.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_program_says() {
        let said = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_version(said), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 19beta2"), Some(19));
        assert_eq!(parse_version("postgres (EnterpriseDB) x"), None);
    }

    #[test]
    fn an_empty_bindir_is_named_in_the_error() {
        let settings = Settings {
            data_dir: PathBuf::from("/unused"),
            pg_bindir: Some(PathBuf::from("/nowhere")),
            path: None,
        };
        let error = find(&settings, None, Path::new("/unused/postgres")).unwrap_err();
        assert!(matches!(error, EmbeddedError::Bindir(it) if it == Path::new("/nowhere")));
    }
}
