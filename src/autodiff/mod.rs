//! Reverse mode on ONNX graphs: gradients as standard operators.
//!
//! [`backward`] appends to a model the vector-Jacobian product of some of its tensors,
//! written in standard operators of the model's own opset (13 to 23), so that whatever
//! runs the model runs its gradient. The forward pass is shared and weights stay single:
//! a convolution's input gradient is a `ConvTranspose` with the same initializer, a
//! product's is a `Gemm` that reads the same weight transposed.
//!
//! Only what lies between the wanted tensors and the seeded ones is differentiated, and
//! nothing behind the tensors where the request says to stop. Weights themselves have no
//! gradient here. Statistics of norms are computed in float32 also in half-precision graphs;
//! the caller scales the seed.
//!
//! What the way back needs of the forward pass is kept, unless [`Request::recompute`] names parts of it
//! that are computed a second time instead.
//!
//! Uses [`crate::onnx`] alone; `patch` and `train` use it.
//!
//! # Adding an operator
//! 1. Write `rules/<operator>.rs` with one function `fn(&mut Step) -> Result<()>`. It asks
//!    [`Step::wants`](step::Step::wants) which inputs need a gradient, reads the gradient of
//!    the output with [`Step::grad`](step::Step::grad), writes nodes through
//!    [`Step::emit`](step::Step::emit) and hands over each input's gradient, in that input's
//!    shape and type, with [`Step::give`](step::Step::give).
//! 2. Add its line to `rules::RULES`, in alphabetical order.
//! 3. Add a case to `tools/goldens/autodiff.py`: the node, its inputs, the same in torch. A test tells which
//!    rules have none.

mod backward;
mod emit;
mod error;
mod recompute;
mod rules;
mod step;

pub use backward::{Request, backward};
pub use error::{Error, Result};

#[cfg(test)]
mod tests;
