//! The directories of a cluster, the account that owns them, and what is running in them.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStrExt as _,
            fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
        },
    },
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::kill,
    unistd::{Gid, Pid, Uid, User},
};
use sha2::{Digest as _, Sha256};

use super::EmbeddedError;

/// Only names the socket's file: the server does not listen on TCP.
pub(super) const PORT: u16 = 5432;
/// `sun_path` holds 104 bytes on macOS (108 on Linux), the closing zero included.
const SOCKET_PATH_MAX: usize = 103;
/// How much of the server's log an error message shows, in bytes.
const LOG_TAIL_MAX: u64 = 4_000;

/// As whom the server runs when conche itself is root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
}

/// A data directory, made ready for a server.
#[derive(Debug)]
pub(super) struct Place {
    /// Absolute, without links.
    pub(super) data_dir: PathBuf,
    /// `None`: the server runs as whoever runs conche.
    pub(super) account: Option<Account>,
    /// The data directory held open for a server that may not enter one of its parents (root's
    /// home, say): it comes in through `/proc/self/fd`, and nothing needs to be opened up for it.
    door: Option<File>,
}

impl Place {
    /// Makes the directories that are missing.
    pub(super) fn prepare(data_dir: &Path) -> Result<Self, EmbeddedError> {
        if !data_dir.is_dir() {
            fs::create_dir_all(data_dir).map_err(EmbeddedError::io("make", data_dir))?;
            set_mode(data_dir, 0o700)?;
        }
        let data_dir =
            fs::canonicalize(data_dir).map_err(EmbeddedError::io("resolve", data_dir))?;
        let account = account_for(&data_dir.join("postgres"))?;
        let mut place = Self { data_dir, account, door: None };
        place.let_in()?;
        place.make_private(&place.socket_dir())?;
        Ok(place)
    }

    /// A data directory as it is; `None` if no cluster was made there.
    pub(super) fn find(data_dir: &Path) -> Result<Option<Self>, EmbeddedError> {
        match fs::canonicalize(data_dir) {
            Ok(data_dir) => Ok(Some(Self { data_dir, account: None, door: None })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EmbeddedError::io("open", data_dir)(error)),
        }
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.data_dir.join("postgres")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    /// Below the data directory; where that makes the path too long for a socket, a folder in
    /// `/tmp` whose name follows from it.
    pub(super) fn socket_dir(&self) -> PathBuf {
        let near = self.data_dir.join("run");
        if near.as_os_str().len() + format!("/.s.PGSQL.{PORT}").len() <= SOCKET_PATH_MAX {
            return near;
        }
        let hash = Sha256::digest(self.data_dir.as_os_str().as_bytes());
        let name = hash.iter().take(8).fold(0_u64, |name, &byte| name << 8 | u64::from(byte));
        PathBuf::from(format!("/tmp/conche-{name:016x}"))
    }

    /// A path as the server's process can reach it.
    pub(super) fn as_seen_by_server(&self, path: &Path) -> PathBuf {
        match (&self.door, path.strip_prefix(&self.data_dir)) {
            (Some(door), Ok(inside)) => {
                PathBuf::from(format!("/proc/self/fd/{}", door.as_raw_fd())).join(inside)
            }
            _ => path.to_owned(),
        }
    }

    /// Once the server is in: later children have no business with it.
    pub(super) fn close_door(&mut self) {
        self.door = None;
    }

    /// The major version that made the cluster; `None` before there is one.
    pub(super) fn version(&self) -> Result<Option<String>, EmbeddedError> {
        let text = self.read("PG_VERSION")?;
        Ok(text.map(|it| it.trim().to_owned()))
    }

    /// Whoever holds it answers for the server. `None` while another program does.
    pub(super) fn try_lock(&self) -> Result<Option<File>, EmbeddedError> {
        let path = self.data_dir.join("conche.lock");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(EmbeddedError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(EmbeddedError::io("lock", &path)(error)),
        }
    }

    /// The running server of this cluster, also while it starts or ends. A number left behind by a
    /// crash, which may have gone to some other program since, does not count.
    pub(super) fn postmaster(&self) -> Result<Option<Pid>, EmbeddedError> {
        Ok(self.recorded_pid()?.filter(|&pid| is_postmaster(pid, &self.cluster())))
    }

    /// After a restart of the machine or container the recorded number often is some other
    /// program's, and PostgreSQL would refuse to start. Only for the holder of the lock.
    pub(super) fn forget_recycled_pid(&self) -> Result<(), EmbeddedError> {
        let Some(pid) = self.recorded_pid()? else { return Ok(()) };
        if kill(pid, None).is_err() || is_postmaster(pid, &self.cluster()) {
            return Ok(());
        }
        let socket_lock = self.socket_dir().join(format!(".s.PGSQL.{PORT}.lock"));
        for path in [self.cluster().join("postmaster.pid"), socket_lock] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(EmbeddedError::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a directory for the server alone, or takes one that is.
    pub(super) fn make_private(&self, path: &Path) -> Result<(), EmbeddedError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(EmbeddedError::io("make", path)(error)),
        }
        // In /tmp anyone might have made it first: a link or a stranger's folder is refused.
        let found = fs::symlink_metadata(path).map_err(EmbeddedError::io("look at", path))?;
        let owner = self.account.as_ref().map_or(Uid::effective(), |it| it.uid);
        let ours = [Uid::effective().as_raw(), owner.as_raw()].contains(&found.uid());
        if !found.is_dir() || !ours {
            return Err(EmbeddedError::OtherOwner(path.to_owned()));
        }
        if let Some(account) = &self.account {
            let (uid, gid) = (account.uid.as_raw(), account.gid.as_raw());
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .map_err(EmbeddedError::io("give away", path))?;
        }
        set_mode(path, 0o700)
    }

    /// Only what was put outside of the data directory; empty once the server has gone.
    pub(super) fn leave_no_socket_folder(&self) {
        let folder = self.socket_dir();
        if !folder.starts_with(&self.data_dir)
            && let Err(error) = fs::remove_dir(&folder)
        {
            tracing::debug!(folder = %folder.display(), %error, "the socket's folder stays");
        }
    }

    pub(super) fn log_length(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |it| it.len())
    }

    /// What the server wrote since the log had `length` bytes, its end only.
    pub(super) fn log_after(&self, length: u64) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(self.log())?;
            let end = file.metadata()?.len();
            let from = if length > end { 0 } else { length }; // a new file meanwhile
            file.seek(SeekFrom::Start(from.max(end.saturating_sub(LOG_TAIL_MAX))))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
        };
        read().unwrap_or_default()
    }

    fn recorded_pid(&self) -> Result<Option<Pid>, EmbeddedError> {
        let text = self.read("postmaster.pid")?.unwrap_or_default();
        let pid = text.lines().next().and_then(|it| it.trim().parse().ok());
        Ok(pid.filter(|&it| it > 0).map(Pid::from_raw))
    }

    fn read(&self, name: &str) -> Result<Option<String>, EmbeddedError> {
        let path = self.cluster().join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(EmbeddedError::OtherOwner(self.cluster()))
            }
            Err(error) => Err(EmbeddedError::io("read", &path)(error)),
        }
    }

    /// Lets the server's account through the data directory itself, which is ours to open; past
    /// closed parents it is handed in.
    fn let_in(&mut self) -> Result<(), EmbeddedError> {
        let Some(account) = self.account.clone() else { return Ok(()) };
        let look = |path: &Path| fs::metadata(path).map_err(EmbeddedError::io("look at", path));
        let found = look(&self.data_dir)?;
        if !may_enter(&found, &account) {
            set_mode(&self.data_dir, found.mode() | 0o011)?;
        }
        for parent in self.data_dir.ancestors().skip(1) {
            if !may_enter(&look(parent)?, &account) {
                self.door = Some(self.open_door(parent, &account)?);
                break;
            }
        }
        Ok(())
    }

    fn open_door(&self, closed: &Path, account: &Account) -> Result<File, EmbeddedError> {
        let refused = || EmbeddedError::Unreachable {
            directory: closed.to_owned(),
            user: account.name.clone(),
        };
        let door = File::open(&self.data_dir).map_err(EmbeddedError::io("open", &self.data_dir))?;
        // Children inherit it: the one that matters is the server.
        fcntl(&door, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|_| refused())?;
        let handed_in = Path::new("/proc/self/fd").join(door.as_raw_fd().to_string());
        if handed_in.is_dir() { Ok(door) } else { Err(refused()) }
    }
}

/// As whom to run the server: for root the owner of an existing cluster, else `postgres`, else
/// `nobody`.
fn account_for(cluster: &Path) -> Result<Option<Account>, EmbeddedError> {
    let owner = fs::metadata(cluster).ok().map(|it| (it.uid(), it.gid()));
    let me = Uid::effective();
    if !me.is_root() {
        return match owner {
            Some((uid, _)) if uid != me.as_raw() => {
                Err(EmbeddedError::OtherOwner(cluster.to_owned()))
            }
            _ => Ok(None),
        };
    }
    if let Some((uid, gid)) = owner
        && uid != 0
    {
        let uid = Uid::from_raw(uid);
        let name = User::from_uid(uid).ok().flatten().map_or(uid.to_string(), |it| it.name);
        return Ok(Some(Account { name, uid, gid: Gid::from_raw(gid) }));
    }
    let user = ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .ok_or(EmbeddedError::NoAccount)?;
    if owner.is_some() {
        return Err(EmbeddedError::OwnedByRoot { directory: cluster.to_owned(), user: user.name });
    }
    Ok(Some(Account { name: user.name, uid: user.uid, gid: user.gid }))
}

fn may_enter(directory: &Metadata, account: &Account) -> bool {
    let bit = if directory.uid() == account.uid.as_raw() {
        0o100
    } else if directory.gid() == account.gid.as_raw() {
        0o010
    } else {
        0o001
    };
    directory.mode() & bit != 0
}

fn set_mode(path: &Path, mode: u32) -> Result<(), EmbeddedError> {
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))
        .map_err(EmbeddedError::io("set the permissions of", path))
}

/// A server works in its cluster's directory, which names it among all others. Where that is not
/// to be seen (containers without the right to trace, other systems than Linux) its name decides.
fn is_postmaster(pid: Pid, cluster: &Path) -> bool {
    if kill(pid, None).is_err() {
        return false;
    }
    if !cfg!(target_os = "linux") {
        let ps = Command::new("ps").args(["-o", "comm=", "-p", &pid.to_string()]).output();
        return ps
            .is_ok_and(|it| String::from_utf8_lossy(&it.stdout).trim_end().ends_with("postgres"));
    }
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(directory) => directory == cluster,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|it| it.trim_end() == "postgres")
        }
        Err(_) => false,
    }
}
