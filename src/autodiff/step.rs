use super::emit::Emit;
use super::{Error, Result};
use crate::onnx::proto::NodeProto;
use crate::onnx::{DataType, NodeExt};

/// One node on the way back: what arrived at its outputs, and what its rule hands to its inputs.
pub(super) struct Step<'s, 'e> {
    /// Where the rule writes nodes.
    pub emit: &'s mut Emit<'e>,
    /// The node of the forward pass.
    pub node: &'s NodeProto,
    wanted: Vec<bool>,
    arrived: Vec<Option<String>>,
    given: Vec<(usize, String)>,
}

impl<'s, 'e> Step<'s, 'e> {
    pub fn new(emit: &'s mut Emit<'e>, node: &'s NodeProto, wanted: Vec<bool>, arrived: Vec<Option<String>>) -> Self {
        Self { emit, node, wanted, arrived, given: Vec::new() }
    }

    pub fn into_given(self) -> Vec<(usize, String)> {
        self.given
    }

    /// The gradient at the first output.
    pub fn grad(&self) -> Result<String> {
        self.grad_of(0).ok_or_else(|| self.unsupported("only a secondary output is used"))
    }

    /// The gradient at output `slot`, if one arrived.
    pub fn grad_of(&self, slot: usize) -> Option<String> {
        self.arrived.get(slot).cloned().flatten()
    }

    /// The first output of the forward pass.
    pub fn output(&self) -> Result<&'s str> {
        self.node.output_name(0).ok_or_else(|| self.unsupported("it has no output"))
    }

    /// The tensor at input `slot`.
    pub fn input(&self, slot: usize) -> Result<&'s str> {
        self.node.input_name(slot).ok_or_else(|| self.unsupported(&format!("it has no input {slot}")))
    }

    /// Whether input `slot` needs a gradient.
    pub fn wants(&self, slot: usize) -> bool {
        self.wanted.get(slot).copied().unwrap_or(false)
    }

    /// Hands over the gradient of input `slot`, in its shape and type.
    pub fn give(&mut self, slot: usize, gradient: String) {
        self.given.push((slot, gradient));
    }

    /// Hands over a gradient that still has the axes that input `slot` was broadcast along.
    pub fn give_summed(&mut self, slot: usize, gradient: &str) -> Result<()> {
        let target = self.input(slot)?;
        let summed = self.emit.sum_to(gradient, target)?;
        self.give(slot, summed);
        Ok(())
    }

    /// Hands over `gradient` reshaped like input `slot`.
    pub fn give_reshaped(&mut self, slot: usize, gradient: &str) -> Result<()> {
        let target = self.input(slot)?;
        let reshaped = self.emit.reshape_like(gradient, target)?;
        self.give(slot, reshaped);
        Ok(())
    }

    /// The element type of a tensor.
    pub fn elem(&self, tensor: &str) -> Result<DataType> {
        self.emit.elem(tensor)
    }

    /// The number of axes of a tensor.
    pub fn rank(&self, tensor: &str) -> Result<usize> {
        let rank = self.emit.shapes.rank(tensor);
        rank.ok_or_else(|| self.unsupported(&format!("the rank of '{tensor}' is unknown")))
    }

    /// `axis` of a tensor of `rank`, counted from the front.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        let valid = usize::try_from(from_front).ok().filter(|&axis| axis < rank);
        valid.ok_or_else(|| self.unsupported(&format!("axis {axis} of a tensor of rank {rank}")))
    }

    /// An error about a form of the operator that its rule does not handle.
    pub fn unsupported(&self, reason: &str) -> Error {
        Error::Unsupported { place: self.node.place(), reason: reason.to_owned() }
    }

    /// Refuses inputs (weights, scales) that rules treat as constants.
    pub fn constants(&self, slots: std::ops::Range<usize>) -> Result<()> {
        match slots.into_iter().find(|&slot| self.wants(slot)) {
            Some(slot) => Err(self.unsupported(&format!("input {slot} depends on a wanted tensor, not only input 0"))),
            None => Ok(()),
        }
    }
}
