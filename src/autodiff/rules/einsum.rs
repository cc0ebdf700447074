use crate::autodiff::Result;
use crate::autodiff::step::Step;
use crate::onnx::{NodeBuilder, NodeExt};

/// The gradient of an operand is the same sum over the output's labels and the other
/// operands', kept to the operand's own; labels that only it has are repeated.
pub(super) fn rule(step: &mut Step<'_, '_>) -> Result<()> {
    let equation: String =
        step.node.attr_str("equation").unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let Some((operands, result)) = equation.split_once("->") else {
        return Err(step.unsupported("an equation without '->'"));
    };
    let terms: Vec<&str> = operands.split(',').collect();
    let repeated = |term: &&str| term.chars().enumerate().any(|(at, label)| term[..at].contains(label));
    if equation.contains('.') || terms.iter().any(repeated) || terms.len() != step.node.input.len() {
        return Err(step.unsupported(&format!("the equation '{equation}' (ellipsis or repeated labels)")));
    }
    for slot in 0..terms.len() {
        if step.wants(slot) {
            operand(step, &terms, result, slot)?;
        }
    }
    Ok(())
}

fn operand(step: &mut Step<'_, '_>, terms: &[&str], result: &str, slot: usize) -> Result<()> {
    let grad = step.grad()?;
    let others = || terms.iter().enumerate().filter(|(other, _)| *other != slot);
    let elsewhere = |label: char| result.contains(label) || others().any(|(_, term)| term.contains(label));
    let kept: String = terms[slot].chars().filter(|&label| elsewhere(label)).collect();
    let mut inputs = vec![grad];
    let mut equation = result.to_owned();
    for (other, term) in others() {
        inputs.push(step.input(other)?.to_owned());
        equation.push(',');
        equation.push_str(term);
    }
    equation.push_str("->");
    equation.push_str(&kept);
    let mut gradient = step.emit.node(NodeBuilder::new("Einsum").inputs(inputs).attr("equation", equation.as_str()))?;
    let missing: Vec<i64> = (0i64..).zip(terms[slot].chars()).filter(|(_, l)| !elsewhere(*l)).map(|(i, _)| i).collect();
    if !missing.is_empty() {
        let axes = step.emit.ints(&missing)?;
        gradient = step.emit.op("Unsqueeze", &[&gradient, &axes])?;
        gradient = step.emit.expand_like(&gradient, step.input(slot)?)?;
    }
    step.give(slot, gradient);
    Ok(())
}
