//! Where things lie in a stack's folder (`.kisum/` of the project, or a test's temporary folder).

use super::Failure;
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Shell scripts that outlive a killed process. They are files so that a list of processes shows their names.
const LEASH: &str = include_str!("leash.sh");
const JANITOR: &str = include_str!("janitor.sh");

/// The folder of one stack.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Creates the folder and its parts where they are missing.
    ///
    /// # Errors
    /// When a folder cannot be created.
    pub fn create(root: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::io(format!("creating {}", root.display()), &error);
        fs::create_dir_all(root).map_err(failed)?;
        let layout = Self { root: root.canonicalize().map_err(failed)? };
        for folder in [layout.logs(), layout.run()] {
            fs::create_dir_all(&folder).map_err(failed)?;
        }
        for folder in [layout.secrets(), layout.mail()] {
            private_folder(&folder).map_err(failed)?;
        }
        for (script, text) in [(layout.leash(), LEASH), (layout.janitor(), JANITOR)] {
            write_private(&script, text.as_bytes()).map_err(failed)?;
        }
        Ok(layout)
    }

    /// An existing folder, which is not touched.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder itself, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Each child's output, `<name>.log`.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The output of one child.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// Process ids of running children, `<name>.pid`.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The script that a child runs under (see `child`).
    pub fn leash(&self) -> PathBuf {
        self.run().join("leash.sh")
    }

    /// The script that removes a temporary stack (see `child`).
    pub fn janitor(&self) -> PathBuf {
        self.run().join("janitor.sh")
    }

    /// Generated secrets, readable by their owner only.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Mails that services have sent, one file each, readable by their owner only: links in them are secrets.
    pub fn mail(&self) -> PathBuf {
        self.root.join("mail")
    }

    /// What the private NATS server reads and keeps. A link where the server's account cannot enter this folder.
    pub fn nats(&self) -> PathBuf {
        self.root.join("nats")
    }

    /// The ports that were used last.
    pub fn ports(&self) -> PathBuf {
        self.root.join("ports.json")
    }

    /// Held by the process that runs the stack.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The variables of a running stack, for `source`.
    pub fn env(&self) -> PathBuf {
        self.root.join("env")
    }

    /// Exists while `kisum up` serves; holds its process id.
    pub fn ready(&self) -> PathBuf {
        self.root.join("ready")
    }
}

/// Creates a folder that only its owner may enter.
fn private_folder(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Writes a file that only its owner may read, whole or not at all: a crash leaves the old one or the new one.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_private(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    // A name of its own: of two who write the same file at once, neither takes the other's away.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}-{}.new", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    let unfinished = PathBuf::from(unfinished);
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}
