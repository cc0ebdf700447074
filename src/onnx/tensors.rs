//! Every tensor of a model, wherever it sits: initializers, attributes,
//! subgraphs, functions, training graphs.

use super::Result;
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// Where in a model a tensor sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// An initializer of the main graph or of a subgraph.
    Initializer,
    /// A node's attribute or a part of a sparse tensor.
    Attribute,
}

macro_rules! visitors {
    ($model:ident, $graph:ident, $node:ident, $attribute:ident, $sparse:ident, $iter:ident $(, $mutable:tt)?) => {
        /// Calls `visit` with every tensor of `model`.
        ///
        /// # Errors
        /// The first that `visit` returns.
        pub(super) fn $model(
            model: &$($mutable)? ModelProto,
            visit: &mut dyn FnMut(&$($mutable)? TensorProto, Seat) -> Result<()>,
        ) -> Result<()> {
            model.graph.$iter().try_for_each(|graph| $graph(graph, visit))?;
            for info in model.training_info.$iter() {
                info.initialization.$iter().try_for_each(|graph| $graph(graph, visit))?;
                info.algorithm.$iter().try_for_each(|graph| $graph(graph, visit))?;
            }
            for function in model.functions.$iter() {
                function.attribute_proto.$iter().try_for_each(|attribute| $attribute(attribute, visit))?;
                function.node.$iter().try_for_each(|node| $node(node, visit))?;
            }
            Ok(())
        }

        fn $graph(
            graph: &$($mutable)? GraphProto,
            visit: &mut dyn FnMut(&$($mutable)? TensorProto, Seat) -> Result<()>,
        ) -> Result<()> {
            graph.initializer.$iter().try_for_each(|tensor| visit(tensor, Seat::Initializer))?;
            graph.sparse_initializer.$iter().try_for_each(|sparse| $sparse(sparse, visit))?;
            graph.node.$iter().try_for_each(|node| $node(node, visit))
        }

        fn $node(
            node: &$($mutable)? NodeProto,
            visit: &mut dyn FnMut(&$($mutable)? TensorProto, Seat) -> Result<()>,
        ) -> Result<()> {
            node.attribute.$iter().try_for_each(|attribute| $attribute(attribute, visit))
        }

        fn $attribute(
            attribute: &$($mutable)? AttributeProto,
            visit: &mut dyn FnMut(&$($mutable)? TensorProto, Seat) -> Result<()>,
        ) -> Result<()> {
            attribute.t.$iter().try_for_each(|tensor| visit(tensor, Seat::Attribute))?;
            attribute.tensors.$iter().try_for_each(|tensor| visit(tensor, Seat::Attribute))?;
            attribute.sparse_tensor.$iter().try_for_each(|sparse| $sparse(sparse, visit))?;
            attribute.sparse_tensors.$iter().try_for_each(|sparse| $sparse(sparse, visit))?;
            attribute.g.$iter().try_for_each(|graph| $graph(graph, visit))?;
            attribute.graphs.$iter().try_for_each(|graph| $graph(graph, visit))
        }

        fn $sparse(
            sparse: &$($mutable)? SparseTensorProto,
            visit: &mut dyn FnMut(&$($mutable)? TensorProto, Seat) -> Result<()>,
        ) -> Result<()> {
            sparse.values.$iter().try_for_each(|tensor| visit(tensor, Seat::Attribute))?;
            sparse.indices.$iter().try_for_each(|tensor| visit(tensor, Seat::Attribute))
        }
    };
}

visitors!(visit_tensors, in_graph, in_node, in_attribute, in_sparse, iter);
visitors!(visit_tensors_mut, in_graph_mut, in_node_mut, in_attribute_mut, in_sparse_mut, iter_mut, mut);
