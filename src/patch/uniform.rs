use crate::onnx::infer::Shapes;
use crate::onnx::{Graph, NodeExt, constant_f32s};

/// Chains of scalar arithmetic are no longer than this.
const DEEPEST: usize = 32;

/// The number that every element of `tensor` is, if that can be told without running the model:
/// scales that exporters compute from shapes, and tensors of zeros that they add.
pub fn uniform(graph: &Graph, shapes: &Shapes, tensor: &str) -> Option<f32> {
    evaluated(graph, shapes, tensor, DEEPEST)
}

fn evaluated(graph: &Graph, shapes: &Shapes, tensor: &str, depth: usize) -> Option<f32> {
    if let Ok(Some(values)) = constant_f32s(graph, tensor) {
        return all_equal(&values);
    }
    if let Some(values) = shapes.known_ints(tensor) {
        return all_equal(&values.iter().map(|&value| value as f32).collect::<Vec<_>>());
    }
    let node = graph.node(graph.producer(tensor)?);
    let operand = |slot: usize| evaluated(graph, shapes, node.input_name(slot)?, depth.checked_sub(1)?);
    match node.op_type() {
        "Cast" | "Identity" | "Reshape" | "Expand" | "Unsqueeze" | "Squeeze" => operand(0),
        "Sqrt" => operand(0).map(f32::sqrt),
        "Reciprocal" => operand(0).map(f32::recip),
        "Mul" => match (operand(0), operand(1)) {
            (Some(zero), _) | (_, Some(zero)) if zero == 0.0 => Some(0.0),
            (a, b) => Some(a? * b?),
        },
        "Div" => Some(operand(0)? / operand(1)?),
        "Add" => Some(operand(0)? + operand(1)?),
        "Pow" => Some(operand(0)?.powf(operand(1)?)),
        "ConstantOfShape" => match node.attr("value").and_then(|value| value.t.as_ref()) {
            Some(value) => crate::onnx::tensor_f32s(value).ok()?.first().copied(),
            None => Some(0.0),
        },
        _ => None,
    }
}

fn all_equal(values: &[f32]) -> Option<f32> {
    let first = *values.first()?;
    values.iter().all(|value| *value == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{DataType, NodeBuilder};
    use crate::patch::sketch::filled;

    #[test]
    fn scales_are_computed_and_zeros_seen() {
        let mut graph = Graph::default();
        graph.add_initializer(filled("w", &[1], 16.0, DataType::Float)).unwrap();
        let mut add = |op: &str, inputs: &[&str], output: &str| {
            graph.add(NodeBuilder::new(op).inputs(inputs.iter().copied()).output(output).build()).unwrap();
        };
        add("Sqrt", &["w"], "root");
        add("Reciprocal", &["root"], "scale");
        add("ConstantOfShape", &["shape"], "zeros");
        add("Mul", &["zeros", "unknown"], "none");
        let shapes = Shapes::default();
        assert_eq!(uniform(&graph, &shapes, "scale"), Some(0.25));
        assert_eq!(uniform(&graph, &shapes, "none"), Some(0.0));
        assert_eq!(uniform(&graph, &shapes, "unknown"), None);
    }
}
