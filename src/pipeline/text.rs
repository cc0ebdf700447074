use std::sync::Arc;

use ndarray::{Array3, Axis, Ix3};

use crate::prompt::{Tokens, apply_weights};
use crate::runtime::{Session, Tensor};

use super::part::Part;
use super::{Error, Result};

/// CLIP's text encoder.
#[derive(Debug)]
pub(super) struct TextEncoder {
    part: Part,
}

impl TextEncoder {
    pub fn new(part: Part) -> Self {
        Self { part }
    }

    pub fn loaded(&self) -> Option<Arc<Session>> {
        self.part.loaded()
    }

    pub fn release(&self) {
        self.part.release();
    }

    /// The context `[1, 77 · chunks, C]` of a prompt, with its weights put in.
    pub fn encode(&self, tokens: &Tokens) -> Result<Array3<f32>> {
        let length = tokens.ids.ncols();
        let session = self.part.session_for(|_| vec![1, length])?;
        let chunks: Vec<Array3<f32>> =
            (0..tokens.chunks()).map(|chunk| encode_chunk(&session, tokens, chunk)).collect::<Result<_>>()?;
        let views: Vec<_> = chunks.iter().map(|chunk| chunk.view()).collect();
        ndarray::concatenate(Axis(1), &views).map_err(|error| Error::model(self.part.path(), error.to_string()))
    }
}

/// One row at a time: some exports have a fixed batch of one, and a prompt has few chunks.
fn encode_chunk(session: &Session, tokens: &Tokens, chunk: usize) -> Result<Array3<f32>> {
    let ids = tokens.ids.row(chunk).insert_axis(Axis(0)).to_owned();
    let feeds: Vec<(&str, Tensor)> = session
        .inputs()
        .iter()
        .map(|spec| match spec.name.contains("mask") {
            true => (spec.name.as_str(), Tensor::filled(ids.shape(), spec.element_type, 1.0)),
            false => (spec.name.as_str(), Tensor::from(ids.clone()).cast(spec.element_type)),
        })
        .collect();
    let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let hidden = session.run(&feeds)?.take(hidden_states(session)?)?.into_f32();
    let wrong = |error: ndarray::ShapeError| Error::model(session.model(), format!("hidden states: {error}"));
    let mut hidden = hidden.into_dimensionality::<Ix3>().map_err(wrong)?;
    let weights: Vec<f32> = tokens.weights.row(chunk).to_vec();
    apply_weights(hidden.index_axis_mut(Axis(0), 0), &weights)?;
    Ok(hidden)
}

/// The output of rank 3: `last_hidden_state`, whatever its name.
fn hidden_states(session: &Session) -> Result<&str> {
    let named = session.output("last_hidden_state");
    let output = named.or_else(|| session.outputs().iter().find(|spec| spec.rank() == 3));
    output.map(|spec| spec.name.as_str()).ok_or_else(|| {
        Error::model(session.model(), "has no output of shape [batch, tokens, width]: is it a text encoder?")
    })
}
