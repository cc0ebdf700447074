use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::encode::encode;
use super::place::{DataFile, Placement};
use super::{Copying, Overwrite, WriteOptions};
use crate::onnx::{Error, Model, Result};

/// Temporary folders of unfinished transactions are named so, inside of the target folder.
const TEMPORARY: &str = ".infusion-";
const LOCK: &str = "lock";

/// Files that come into being together.
///
/// Dropped without [`Transaction::commit`], it leaves nothing behind. What a
/// killed process left, the next transaction in that folder removes.
pub struct Transaction<'a> {
    folder: PathBuf,
    folder_is_new: bool,
    options: WriteOptions<'a>,
    pending: Vec<Pending>,
    pub(super) placement: Placement,
    temporary: TempDir,
    _lock: File,
}

struct Pending {
    temporary: PathBuf,
    target: PathBuf,
}

impl<'a> Transaction<'a> {
    /// Starts writing into `folder`, which is made if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn begin(folder: &Path, options: WriteOptions<'a>) -> Result<Self> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let folder_is_new = !folder.exists();
        fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        remove_abandoned(folder);
        let begun = || -> io::Result<(TempDir, File)> {
            let temporary = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(folder)?;
            let lock = File::create(temporary.path().join(LOCK))?;
            // A file system without locks only loses the cleaning up after killed runs.
            let _ = lock.try_lock();
            Ok((temporary, lock))
        };
        let (temporary, lock) = begun().map_err(|error| Error::io(folder, error))?;
        let placement = Placement::default();
        let pending = Vec::new();
        Ok(Self { folder: folder.to_owned(), folder_is_new, options, pending, placement, temporary, _lock: lock })
    }

    /// The folder that is written to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds a model under the file name `name`.
    ///
    /// # Errors
    /// The file exists and may not be replaced; a cycle in the graph; weights that cannot be
    /// read, linked or copied; a graph above 2 GB even without weights.
    pub fn model(&mut self, name: &str, model: &Model) -> Result<()> {
        let temporary = self.reserve(name)?;
        let proto = self.place_weights(name, model)?;
        let written = File::create(&temporary).and_then(|file| {
            let mut out = BufWriter::with_capacity(1 << 20, file);
            encode(proto, &mut out)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
        });
        written.map_err(|error| Error::io(self.folder.join(name), error))
    }

    /// Adds a file of other content, e.g. a manifest.
    ///
    /// # Errors
    /// The file exists and may not be replaced; it cannot be written.
    pub fn file(&mut self, name: &str, contents: &[u8]) -> Result<()> {
        let temporary = self.reserve(name)?;
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(contents)?;
            file.sync_all()
        });
        written.map_err(|error| Error::io(self.folder.join(name), error))
    }

    /// The names of the files added so far, weights included, in the order of [`Transaction::commit`].
    pub fn file_names(&self) -> Vec<String> {
        let targets = self.placement.targets().chain(self.pending.iter().map(|pending| pending.target.as_path()));
        let relative = targets.map(|target| target.strip_prefix(&self.folder).unwrap_or(target));
        relative.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// Moves all files into place, in the order they were added after the weights they need,
    /// and returns their paths. If one cannot be moved, those before it are taken back.
    ///
    /// # Errors
    /// A file that exists and may not be replaced; a failed move.
    pub fn commit(mut self) -> Result<Vec<PathBuf>> {
        for data in self.placement.finish()? {
            self.pending.insert(0, Pending { temporary: data.temporary, target: data.target });
        }
        for pending in &self.pending {
            self.refuse_existing(&pending.target)?;
        }
        let mut done: Vec<(PathBuf, Option<PathBuf>)> = Vec::new();
        for (index, pending) in self.pending.iter().enumerate() {
            let backup = self.temporary.path().join(format!("old-{index}"));
            match replace(pending, &backup) {
                Ok(replaced) => done.push((pending.target.clone(), replaced.then_some(backup))),
                Err(error) => {
                    take_back(&done);
                    return Err(Error::io(&pending.target, error));
                }
            }
        }
        sync_folder(&self.folder);
        self.folder_is_new = false;
        Ok(self.pending.iter().map(|pending| pending.target.clone()).collect())
    }

    /// A temporary path for the new file `name`.
    fn reserve(&mut self, name: &str) -> Result<PathBuf> {
        let target = self.target(name)?;
        if self.pending.iter().any(|pending| pending.target == target) {
            return Err(Error::invalid(format!("file '{name}'"), "would be written twice"));
        }
        self.refuse_existing(&target)?;
        let temporary = self.temporary.path().join(format!("new-{}", self.pending.len()));
        self.pending.push(Pending { temporary: temporary.clone(), target });
        Ok(temporary)
    }

    fn target(&self, name: &str) -> Result<PathBuf> {
        let is_plain = Path::new(name).file_name().is_some_and(|file| file == name);
        if !is_plain {
            return Err(Error::invalid(format!("file '{name}'"), "is no plain file name"));
        }
        Ok(self.folder.join(name))
    }

    fn refuse_existing(&self, target: &Path) -> Result<()> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let allowed = match &self.options.overwrite {
            Overwrite::Never => false,
            Overwrite::Named(names) => names.contains(&*name),
            Overwrite::Always => true,
        };
        let existing = fs::symlink_metadata(target);
        if existing.is_ok_and(|about| !allowed || about.is_dir()) {
            return Err(Error::Exists { path: target.to_owned() });
        }
        Ok(())
    }

    pub(super) fn options(&self) -> &WriteOptions<'a> {
        &self.options
    }

    pub(super) fn names(&self) -> HashSet<PathBuf> {
        self.pending.iter().map(|pending| pending.target.clone()).collect()
    }

    /// A new data file `name` that tensors are appended to.
    pub(super) fn data_file(&mut self, name: &str) -> Result<DataFile> {
        let target = self.target(name)?;
        self.refuse_existing(&target)?;
        let temporary = self.temporary.path().join(format!("data-{name}"));
        DataFile::create(temporary, target)
    }

    /// Makes the bytes of `file` available as `location` in the target folder: a hard link, or
    /// else a copy. Nothing happens if they are there already.
    pub(super) fn provide(&mut self, file: &Path, location: &str) -> Result<()> {
        let target = self.folder.join(location);
        if same_contents(file, &target) {
            return Ok(());
        }
        self.refuse_existing(&target)?;
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| Error::io(parent, error))?;
        }
        let temporary = self.temporary.path().join(format!("weights-{}", self.pending.len()));
        if fs::hard_link(file, &temporary).is_err() {
            self.copy(file, &temporary)?;
        }
        self.pending.push(Pending { temporary, target });
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let (mut source, mut sink) = (open(from)?, File::create(to).map_err(|error| Error::io(to, error))?);
        let about = source.metadata().map_err(|error| Error::io(from, error))?;
        let total = about.len();
        let mut done = 0;
        loop {
            self.report(Copying { file: from, done, total })?;
            let step = io::copy(&mut io::Read::take(&mut source, 64 << 20), &mut sink);
            match step.map_err(|error| Error::io(to, error))? {
                0 => break,
                bytes => done += bytes,
            }
        }
        // The time of change tells a later run that this copy is still good.
        let kept = about.modified().and_then(|time| sink.set_modified(time)).and_then(|()| sink.sync_all());
        kept.map_err(|error| Error::io(to, error))
    }

    pub(super) fn report(&self, copying: Copying<'_>) -> Result<()> {
        match self.options.on_copy.map_or(ControlFlow::Continue(()), |on_copy| on_copy(copying)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Interrupted),
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.folder_is_new {
            let _ = fs::remove_dir_all(self.temporary.path());
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Error::io(path, error))
}

/// Renames a finished file over its target, keeping the old one as `backup`; says whether there was one.
fn replace(pending: &Pending, backup: &Path) -> io::Result<bool> {
    let replaces = fs::symlink_metadata(&pending.target).is_ok();
    if replaces && fs::hard_link(&pending.target, backup).is_err() {
        fs::rename(&pending.target, backup)?;
    }
    match fs::rename(&pending.temporary, &pending.target) {
        Ok(()) => Ok(replaces),
        Err(error) => {
            if replaces {
                fs::rename(backup, &pending.target)?;
            }
            Err(error)
        }
    }
}

fn take_back(done: &[(PathBuf, Option<PathBuf>)]) {
    for (target, backup) in done.iter().rev() {
        let _ = match backup {
            Some(backup) => fs::rename(backup, target),
            None => fs::remove_file(target),
        };
    }
}

/// Makes the renames last through a power cut, where folders can be synchronised.
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// Whether `copy` is `original` (one inode), or a copy of it by length and time of change.
fn same_contents(original: &Path, copy: &Path) -> bool {
    if copy.is_symlink() {
        return false;
    }
    let (Ok(original), Ok(copy)) = (fs::metadata(original), fs::metadata(copy)) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if (original.dev(), original.ino()) == (copy.dev(), copy.ino()) {
            return true;
        }
    }
    let times = original.modified().ok().zip(copy.modified().ok());
    original.len() == copy.len() && times.is_some_and(|(a, b)| a == b)
}

/// Removes the temporary folders of runs that were killed: those whose lock nobody holds.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY));
        if !is_ours {
            continue;
        }
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        match lock.try_lock() {
            Ok(()) => drop(fs::remove_dir_all(&path)),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}
