//! A concept of random numbers, and how it is fed.

use anyhow::Result;
use infusion::concept::{Concept, LayerSpec};
use infusion::noise::TorchGenerator;
use infusion::runtime::{DeviceTensor, Feed, Session, Tensor, TensorSpec};
use ndarray::{Array1, Array2, Array3, ArrayD, ArrayView1, ArrayViewMutD, Axis, Slice, s};

use super::{ADDED, TOKENS};
use crate::bench::mode::Mode;

pub const DELTA: &str = "infusion.delta";
/// The token that the concept stands at.
const TOKEN: usize = 5;

/// A concept of the model's width, as one layer: only the number of values matters.
pub fn random(width: usize) -> Concept {
    let mut concept = Concept::new("bench", "bench");
    concept.layers.insert("all".to_owned(), TorchGenerator::new(1).randn((1, width)) * 0.1);
    concept
}

/// Δ `[1, width]`.
pub fn matrix(concept: &Concept, width: usize) -> Result<Array2<f32>> {
    Ok(concept.matrix(&[LayerSpec { module_path: "all".to_owned(), width }])?)
}

/// What is fed of a concept to a graph that adds it itself.
pub struct Slots {
    mask: Array3<f32>,
    delta: Array2<f32>,
    rows: Array1<i64>,
}

impl Slots {
    /// The concept is in the last `batch` rows: under guidance, half of them.
    pub fn new(mode: Mode, concept: &Concept, width: usize, batch: usize) -> Result<Self> {
        let rows = if mode.learns() { batch } else { 2 * batch };
        let mut mask = Array3::zeros((rows, TOKENS, 1));
        mask.slice_mut(s![rows - batch.., TOKEN, 0]).fill(1.0);
        let rows = (batch as i64..2 * batch as i64).collect();
        Ok(Self { mask, rows, delta: matrix(concept, width)? })
    }

    /// For those of `specs` that take it.
    pub fn feeds(self, specs: &[TensorSpec]) -> Vec<(String, Tensor)> {
        let (mask, delta, rows) = (Tensor::from(self.mask), Tensor::from(self.delta), Tensor::from(self.rows));
        let all = [("mask", mask), ("delta", delta), ("rows", rows)];
        let taken = all.into_iter().filter_map(|(name, tensor)| {
            let spec = specs.iter().find(|spec| spec.name.strip_prefix(ADDED) == Some(name))?;
            Some((spec.name.clone(), tensor.cast(spec.element_type)))
        });
        taken.collect()
    }
}

/// V̄ `[rows, L, d]` of a layer, and where it is fed from.
pub struct Injected {
    name: String,
    value: Tensor,
    /// V `[batch, d]` at the concept's token of the prompts.
    own: ArrayD<f32>,
    /// V̄ where `c` computes, if that is not in the host's memory.
    sent: Option<DeviceTensor>,
}

impl Injected {
    pub fn new(name: String, value: Tensor) -> Self {
        let own = at_token(&mut value.clone().into_f32()).to_owned();
        Self { name, value, own, sent: None }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }

    pub fn width(&self) -> usize {
        self.own.shape()[1]
    }

    pub fn feed(&self) -> Feed<'_> {
        self.sent.as_ref().map_or((&self.value).into(), Feed::from)
    }

    /// V + Δ at the token, where `session` computes.
    pub fn inject(&mut self, delta: ArrayView1<'_, f32>, session: &Session) -> Result<()> {
        let row = &self.own + &delta;
        match &mut self.value {
            Tensor::F32(values) => at_token(values).assign(&row),
            other => {
                let element_type = other.element_type();
                let mut values = other.clone().into_f32();
                at_token(&mut values).assign(&row);
                *other = Tensor::from(values).cast(element_type);
            }
        }
        if !session.provider().computes_on_host() {
            self.sent = Some(session.upload(&self.value)?);
        }
        Ok(())
    }
}

/// The concept's token in the rows of the prompts, which are the second half.
fn at_token(values: &mut ArrayD<f32>) -> ArrayViewMutD<'_, f32> {
    let rows = values.shape()[0];
    let mut prompts = values.view_mut();
    prompts.slice_axis_inplace(Axis(0), Slice::from(rows / 2..));
    prompts.index_axis_move(Axis(1), TOKEN)
}
