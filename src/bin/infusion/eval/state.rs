//! Measurements that are stopped and go on later.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use infusion::files::{Existing, write_whole};
use infusion::metrics::Fisher;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const EVERY: Duration = Duration::from_secs(2);

/// What is kept between two runs of a measurement.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// Everything that decides the number; a run with other settings may not go on.
    settings: Value,
    /// Pairs that were measured, the next one's index.
    pub next: u64,
    /// Pairs in which some token got Δ.
    pub marked: u64,
    pub fisher: Fisher,
}

/// A state and the file that it is kept in.
pub struct Kept {
    pub state: State,
    file: Option<PathBuf>,
    saved: Instant,
}

impl Kept {
    /// The state in `file`, or a fresh one.
    pub fn open(file: Option<&Path>, settings: Value) -> Result<Self> {
        let fresh = State { version: 1, settings, next: 0, marked: 0, fisher: Fisher::default() };
        let state = match file.filter(|file| file.exists()) {
            Some(file) => fresh.resumed(file)?,
            None => fresh,
        };
        Ok(Self { state, file: file.map(Path::to_owned), saved: Instant::now() })
    }

    /// Writes the state now and then.
    pub fn tick(&mut self) -> Result<()> {
        if self.saved.elapsed() >= EVERY { self.save() } else { Ok(()) }
    }

    pub fn save(&mut self) -> Result<()> {
        if let Some(file) = &self.file {
            let text = serde_json::to_vec_pretty(&self.state)?;
            write_whole(file, &text, Existing::Replace).with_context(|| file.display().to_string())?;
        }
        self.saved = Instant::now();
        Ok(())
    }

    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl State {
    fn resumed(self, file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let earlier: Self =
            serde_json::from_str(&text).with_context(|| format!("{}: is no state of this measure", file.display()))?;
        if let Some((key, value)) = self.difference(&earlier) {
            bail!("{}: was measured with {key} {value}; use the same settings, or another file", file.display());
        }
        Ok(earlier)
    }

    fn difference<'a>(&self, earlier: &'a Self) -> Option<(&'a str, &'a Value)> {
        let earlier = earlier.settings.as_object()?.iter();
        earlier.map(|(key, value)| (key.as_str(), value)).find(|(key, value)| self.settings.get(key) != Some(value))
    }
}
