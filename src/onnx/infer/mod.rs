//! Symbolic shapes of a whole graph, and the values of its shape arithmetic.
//!
//! [`infer`] walks a model once and answers with [`Shapes`]: each tensor's element
//! type and extents, and the contents of small integer tensors element by element,
//! so that `Shape → Gather → Mul → Concat → Reshape` chains keep their meaning.
//! [`fold`] then replaces what turned out to be constant.
//!
//! It never fails: an operator without a rule, or one whose inputs contradict each
//! other, makes tensors of unknown shape. What the file itself states fills gaps only.
//!
//! # Adding an operator
//! Write a [`Rule`](site::Rule) in the file of its family under `rules/` (facts about the
//! inputs in, facts about each output out) and add its line to [`rules::rule`].

mod dim;
mod engine;
mod expr;
mod fold;
mod rules;
mod shapes;
mod site;

pub use dim::Dim;
pub use engine::infer;
pub use expr::Expr;
pub use fold::fold;
pub use shapes::Shapes;

#[cfg(test)]
mod tests;
