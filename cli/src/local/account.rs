//! The account that the private servers run under, and folders that this account can reach.
//!
//! PostgreSQL refuses to run as root, so under root all servers run as an unprivileged account. That account may be
//! unable to enter the project folder (`/root/…` is closed to others); the data then lies under `/var/tmp`, in a
//! folder named after the project's path, and the project's own folder holds a link to it.

use super::Failure;
use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The account that Debian's postgresql package creates; `./dev` creates it where it is missing.
const UNPRIVILEGED: &str = "postgres";
/// For data whose account cannot enter the project folder. Unlike `/tmp`, it survives a restart of the machine.
const ELSEWHERE: &str = "/var/tmp";

/// Who runs the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// The developer, who is not root.
    Own,
    /// An unprivileged account, since this process is root.
    Unprivileged {
        /// Its user id.
        uid: u32,
        /// Its group id.
        gid: u32,
    },
}

impl Account {
    /// The caller's own account, or an unprivileged one under root.
    ///
    /// # Errors
    /// Under root when the unprivileged account is missing.
    pub fn find() -> Result<Self, Failure> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| {
            let [name, _, uid, gid, ..] = fields.as_slice() else { return None };
            (*name == UNPRIVILEGED).then(|| Some((uid.parse().ok()?, gid.parse().ok()?))).flatten()
        });
        let (uid, gid) = entry.ok_or_else(|| {
            Failure::new(
                format!("this runs as root and there is no account `{UNPRIVILEGED}` to run servers under"),
                "run `./dev up`, which creates it, or run as an ordinary user",
            )
        })?;
        Ok(Self::Unprivileged { uid, gid })
    }

    /// The command that runs `command` under this account.
    pub fn command(self, command: Vec<String>) -> Vec<String> {
        match self {
            Self::Own => command,
            Self::Unprivileged { uid, gid } => {
                let mut full = vec!["setpriv".to_owned(), format!("--reuid={uid}"), format!("--regid={gid}")];
                full.extend(["--clear-groups".to_owned(), "--".to_owned()]);
                full.extend(command);
                full
            }
        }
    }

    /// Gives a file or folder to this account.
    ///
    /// # Errors
    /// When the owner cannot be changed.
    pub fn adopt(self, path: &Path) -> Result<(), Failure> {
        match self {
            Self::Own => Ok(()),
            Self::Unprivileged { uid, gid } => std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .map_err(|error| Failure::io(format!("giving {} to {UNPRIVILEGED}", path.display()), &error)),
        }
    }

    /// The folder `name` of a stack, which this account owns and nobody else may enter.
    ///
    /// # Errors
    /// When it cannot be created, or somebody else's folder stands in its place.
    pub fn folder(self, root: &Path, name: &str) -> Result<PathBuf, Failure> {
        let wanted = root.join(name);
        let real = if self.can_enter(root) && !wanted.is_symlink() { wanted } else { elsewhere(root, name, &wanted)? };
        let failed = |error: std::io::Error| Failure::io(format!("creating {}", real.display()), &error);
        if !real.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&real).map_err(failed)?;
        }
        self.adopt(&real)?;
        Ok(real)
    }

    fn can_enter(self, folder: &Path) -> bool {
        let mut command = self.command(vec!["test".to_owned(), "-x".to_owned(), folder.display().to_string()]);
        if self == Self::Own || command.is_empty() {
            return true;
        }
        let program = command.remove(0);
        let status = Command::new(program).args(command).current_dir("/").stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

/// Where the data of a stack lies when its account cannot enter the stack's folder.
pub fn elsewhere_root(root: &Path) -> PathBuf {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, root.as_os_str().as_encoded_bytes());
    let name: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Path::new(ELSEWHERE).join(format!("kisum-{name}"))
}

/// Creates the folder under `/var/tmp` and the link to it.
fn elsewhere(root: &Path, name: &str, link: &Path) -> Result<PathBuf, Failure> {
    let base = elsewhere_root(root);
    let failed = |error: std::io::Error| Failure::io(format!("creating {}", base.display()), &error);
    match fs::DirBuilder::new().mode(0o711).create(&base) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    // Everybody may create names in /var/tmp: a folder or link that somebody else put there must not be used.
    let found = fs::symlink_metadata(&base).map_err(failed)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Failure::new(
            format!("{} belongs to somebody else", base.display()),
            "remove it, or move the project to a folder that others may enter",
        ));
    }
    let real = base.join(name);
    if fs::read_link(link).ok().as_deref() != Some(&real) {
        if link.is_symlink() {
            fs::remove_file(link).map_err(failed)?;
        }
        // Nothing in this stack's folder knows of it: it is what another stack left that lay at this path and was
        // deleted, and with it the passwords of its databases.
        if real.exists() {
            fs::remove_dir_all(&real).map_err(failed)?;
        }
        std::os::unix::fs::symlink(&real, link).map_err(failed)?;
    }
    Ok(real)
}

/// The path of a server's program: from `PATH`, or from where Debian and Homebrew put servers.
///
/// # Errors
/// When it is not installed; `package` is what installs it.
pub fn program(name: &str, package: &str) -> Result<String, Failure> {
    const FOLDERS: [&str; 5] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"];
    let path = crate::ambient::variable("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(FOLDERS.into_iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .map(|found| found.display().to_string())
        .ok_or_else(|| {
            Failure::new(format!("{name} is not installed"), format!("run `./dev up`, or install `{package}`"))
        })
}
