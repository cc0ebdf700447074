use super::Shapes;
use crate::onnx::proto::TensorProto;
use crate::onnx::{DataType, Graph, NodeExt, NodeId, Result};

/// Replaces integer and bool tensors whose elements `shapes` knows by initializers of
/// the same name, and returns how many. What only fed them is left for
/// [`Graph::remove_dead`]; graph outputs and `Constant` nodes stay.
///
/// # Errors
/// None in a graph that is consistent.
pub fn fold(graph: &mut Graph, shapes: &Shapes) -> Result<usize> {
    let foldable = |(id, node): (NodeId, &crate::onnx::proto::NodeProto)| -> Option<(NodeId, TensorProto)> {
        let [output] = node.output.as_slice() else { return None };
        if node.is("Constant") || graph.is_output(output) {
            return None;
        }
        Some((id, constant(output, shapes)?))
    };
    let found: Vec<(NodeId, TensorProto)> = graph.nodes().filter_map(foldable).collect();
    let count = found.len();
    for (id, tensor) in found {
        graph.remove(id);
        graph.value_info_mut().shift_remove(tensor.name());
        graph.add_initializer(tensor)?;
    }
    Ok(count)
}

fn constant(tensor: &str, shapes: &Shapes) -> Option<TensorProto> {
    let dims = shapes.known_shape(tensor)?;
    let ints = shapes.known_ints(tensor)?;
    let elem = shapes.elem_type(tensor)?;
    let raw: Vec<u8> = match elem {
        DataType::Int64 => ints.iter().flat_map(|int| int.to_le_bytes()).collect(),
        DataType::Int32 => {
            let narrow: Option<Vec<i32>> = ints.iter().map(|&int| i32::try_from(int).ok()).collect();
            narrow?.iter().flat_map(|int| int.to_le_bytes()).collect()
        }
        DataType::Bool => ints.iter().map(|&int| u8::from(int != 0)).collect(),
        _ => return None,
    };
    Some(TensorProto {
        name: Some(tensor.to_owned()),
        dims,
        data_type: Some(elem as i32),
        raw_data: Some(raw.into()),
        ..Default::default()
    })
}
