use crate::autodiff::Result;
use crate::autodiff::step::Step;

/// `Reshape`, `Flatten`, `Squeeze`, `Unsqueeze`: the gradient goes back into the input's shape.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let grad = step.grad()?;
    step.give_reshaped(0, &grad)
}
