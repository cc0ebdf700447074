//! How a session is set up before its model is loaded.

use std::path::Path;

use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::SessionOptions;
use crate::runtime::library::in_use;
use crate::runtime::providers::{self, ProviderSpec};
use crate::runtime::shapes::{Settled, declared_inputs};
use crate::runtime::{Assignment, Result, cache, threads};

/// What the provider is told of the model before it is loaded.
#[derive(Debug, Default)]
pub(super) struct Preparation {
    settled: Settled,
    cache_key: String,
    weight_bytes: u64,
}

impl Preparation {
    pub fn of(path: &Path, options: &SessionOptions, provider: &ProviderSpec) -> Result<Self> {
        if !provider.settles_shapes() {
            return Ok(Self::default());
        }
        let settled = match options.shapes.as_slice() {
            [] => Settled::default(),
            shapes => Settled::of(&declared_inputs(path)?, shapes),
        };
        let cache_key = cache::key(path, &format!("{provider} {:?}", options.shapes))?;
        Ok(Self { settled, cache_key, weight_bytes: cache::weight_bytes(path)? })
    }
}

pub(super) fn builder(
    options: &SessionOptions,
    provider: &ProviderSpec,
    preparation: &Preparation,
) -> Result<SessionBuilder> {
    let loaded = in_use()?;
    // A host's environment may have providers of its own, which would come first without a word.
    let mut builder = ort::session::Session::builder(&loaded.environment)?
        .with_no_environment_execution_providers()?
        .with_optimization_level(GraphOptimizationLevel::All)?;
    if loaded.info.threads.is_none() {
        // A host's environment prints warnings, among them one for every input that has a default.
        builder = builder.with_log_level(LogLevel::Error)?;
    }
    builder = match (options.threads, loaded.info.threads) {
        (Some(threads), _) => own_threads(builder, threads)?,
        (None, None) => own_threads(builder, threads::default_threads())?,
        (None, Some(_)) => builder,
    };
    if options.low_memory {
        builder = builder.with_prepacking(false)?.with_memory_pattern(false)?;
    }
    builder = Assignment::record(builder)?;
    for (name, length) in &preparation.settled.fixed {
        builder = builder.with_dimension_override(name, i64::try_from(*length).unwrap_or(i64::MAX))?;
    }
    let Preparation { settled, cache_key, weight_bytes } = preparation;
    let context = providers::Context { options, cache_key, ranges: &settled.ranges, weight_bytes: *weight_bytes };
    provider.register(builder, &context)
}

/// A pool of its own must not spin, or it takes the cores from the other sessions.
fn own_threads(builder: SessionBuilder, threads: usize) -> Result<SessionBuilder> {
    Ok(builder.with_independent_thread_pool()?.with_intra_threads(threads)?.with_intra_op_spinning(false)?)
}
