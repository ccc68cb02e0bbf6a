//! The password file on disk: read with a limit, changed by one at a time, and replaced as a whole, so that a gateway never reads half of it.

use crate::file::{FileError, PasswordFile};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A larger file is not read.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// Whoever has an account on the machine.
const READABLE_BY_OTHERS: u32 = 0o004;
/// A new file is the owner's.
const MODE: u32 = 0o600;

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is a folder, a pipe or a device: it cannot be read to its end, or not be replaced.
    #[error("{}: not a regular file", path.display())]
    NoFile {
        /// What is no file.
        path: PathBuf,
    },
    /// It is too large to be right.
    #[error("{}: the file has {bytes} bytes; the limit is {FILE_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is no text.
    #[error("{}: the file is not UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// A line is wrong.
    #[error("{}: {error}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Where and what.
        error: FileError,
    },
}

/// A file that was read.
#[derive(Debug)]
pub struct Stored {
    /// What it says.
    pub file: PasswordFile,
    /// Whether every account of the machine can read it.
    pub is_readable_by_others: bool,
}

impl PasswordFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Stored, StoreError> {
        let io_error = |error| StoreError::Io { path: path.to_owned(), error };
        // Asked before it is opened, because opening a pipe waits for its other end.
        let metadata = fs::metadata(path).map_err(io_error)?;
        if !metadata.is_file() {
            return Err(StoreError::NoFile { path: path.to_owned() });
        }
        let file = File::open(path).map_err(io_error)?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(StoreError::TooLarge { path: path.to_owned(), bytes: metadata.len() });
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io_error)?;
        let text = String::from_utf8(bytes).map_err(|_| StoreError::NotText { path: path.to_owned() })?;
        let file =
            PasswordFile::parse(&text).map_err(|error| StoreError::Line { path: path.to_owned(), error })?;
        Ok(Stored { file, is_readable_by_others: metadata.permissions().mode() & READABLE_BY_OTHERS != 0 })
    }

    /// Changes a file, or an empty one where there is none. Whoever changes a file of the same folder meanwhile waits: of two who read the same
    /// file and replace it, one would undo the other's work. Nothing is written where `change` fails.
    pub fn change<R, E: From<StoreError>>(
        path: &Path,
        change: impl FnOnce(&mut PasswordFile) -> Result<R, E>,
    ) -> Result<R, E> {
        let target = target_of(path)?;
        // The folder, because the file itself becomes another one; a lock file would stay behind.
        let locked = File::open(folder_of(&target)).and_then(|folder| folder.lock().map(|()| folder));
        let _folder = locked.map_err(|error| StoreError::Io { path: path.to_owned(), error })?;
        let mut file = PasswordFile::read_or_new(path)?;
        let changed = change(&mut file)?;
        file.write(path, &target)?;
        Ok(changed)
    }

    /// Reads a file, or begins an empty one where there is none.
    fn read_or_new(path: &Path) -> Result<PasswordFile, StoreError> {
        match PasswordFile::read(path) {
            Ok(read) => Ok(read.file),
            Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Ok(PasswordFile::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a file: first beside the old one, then in its place. A new one is readable by its owner only; an old one keeps
    /// its owner and its rights, or the gateway that reads it would be shut out.
    fn write(&self, path: &Path, target: &Path) -> Result<(), StoreError> {
        let io_error = |error| StoreError::Io { path: path.to_owned(), error };
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let beside = target.with_file_name(name);
        let outcome = replace(target, &beside, self.to_text().as_bytes());
        if outcome.is_err() {
            // It may not have been made at all.
            let _ = fs::remove_file(&beside);
        }
        outcome.map_err(io_error)
    }
}

/// Where a link leads. A link stays a link, and so does one that leads nowhere.
fn target_of(path: &Path) -> Result<PathBuf, StoreError> {
    match fs::canonicalize(path) {
        Ok(target) => Ok(target),
        Err(error) if path.is_symlink() => Err(StoreError::Io { path: path.to_owned(), error }),
        Err(_) => Ok(path.to_owned()),
    }
}

fn folder_of(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn replace(target: &Path, beside: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(MODE).open(beside)?;
    if let Ok(old) = fs::metadata(target) {
        // Only root may give a file away; for anybody else it is the owner's already, or stays so.
        let _ = fchown(&new, Some(old.uid()), Some(old.gid()));
        new.set_permissions(old.permissions())?;
    }
    new.write_all(bytes)?;
    new.sync_all()?;
    fs::rename(beside, target)?;
    // The name is on disk when its folder is.
    File::open(folder_of(target))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argon2id::tests::CHEAP;

    /// A folder of its own, gone at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn add(path: &Path, name: &str) -> Result<(), StoreError> {
        PasswordFile::change(path, |file| {
            assert_eq!(file.set(name, "right", CHEAP, 4096), Ok(true));
            Ok(())
        })
    }

    #[test]
    fn a_new_file_is_its_owners() {
        let folder = Folder::new("new");
        let path = folder.0.join("passwords");
        add(&path, "ann").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = PasswordFile::read(&path).unwrap();
        assert_eq!((read.file.names().collect::<Vec<_>>(), read.is_readable_by_others), (vec!["ann"], false));
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_replaced_file_keeps_its_rights_and_its_link() {
        let folder = Folder::new("kept");
        let (path, link) = (folder.0.join("passwords"), folder.0.join("link"));
        fs::write(&path, "# kept\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        add(&link, "ann").unwrap();
        let read = PasswordFile::read(&path).unwrap();
        assert!(read.is_readable_by_others && read.file.to_text().starts_with("# kept\nann:"));
        assert!(link.is_symlink());
        fs::remove_file(&path).unwrap();
        assert!(add(&link, "ann").is_err() && link.is_symlink(), "a link to nowhere stays one");
    }

    /// Of those who change a file at the same time nobody's work is lost.
    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let folder = Folder::new("together");
        let path = folder.0.join("passwords");
        std::thread::scope(|scope| {
            for number in 0..16 {
                let path = &path;
                scope.spawn(move || add(path, &format!("user-{number}")).unwrap());
            }
        });
        assert_eq!(PasswordFile::read(&path).unwrap().file.names().count(), 16);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing else is left behind");
    }

    /// A device would be replaced by a file, and a pipe would be waited for.
    #[test]
    fn what_is_no_file_is_left_alone() {
        let folder = Folder::new("special");
        let socket = folder.0.join("socket");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&folder.0, &socket] {
            assert!(matches!(add(path, "ann"), Err(StoreError::NoFile { .. })), "{}", path.display());
        }
        assert!(!fs::metadata(&socket).unwrap().is_file());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = Folder::new("broken");
        let path = folder.0.join("passwords");
        for (bytes, expected) in [(&b"ann:x"[..], "line 1: the password hash"), (b"\xff", "not UTF-8")] {
            fs::write(&path, bytes).unwrap();
            let error = PasswordFile::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("passwords"), "{error}");
        }
        let missing = add(&folder.0.join("no/such"), "ann").unwrap_err();
        assert!(missing.to_string().contains("no/such"), "{missing}");
    }
}
