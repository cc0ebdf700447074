//! Running part of a graph on more rows than the rest.
//!
//! The *narrow* part keeps the B rows of the source; the *wide* part has E: F's B rows, then C's.
//! Where data passes from wide to narrow, F's rows are cut out; from narrow to wide, C's rows are
//! appended. Shape arithmetic that asks the other part's tensors for their rows is copied with
//! the answer scaled.

use std::collections::{HashMap, HashSet};

use super::sketch::Sketch;
use super::survey::Survey;
use super::{Error, Result, Variant};
use crate::onnx::infer::Dim;
use crate::onnx::{Graph, NodeExt, NodeId, constant_ints};

/// How many rows a tensor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// B: the source's.
    Narrow,
    /// E: F's and then C's.
    Wide,
}

/// C's rows, as something to append to F's.
#[derive(Clone, Debug)]
pub enum Customised {
    /// C has F's rows once more.
    All,
    /// C has these of F's rows (int64 [R]).
    Picked(String),
}

impl Customised {
    /// Those of the narrow tensor `x`'s rows that C has.
    pub fn rows_of(&self, sketch: &mut Sketch, x: &str) -> Result<String> {
        match self {
            Self::All => Ok(x.to_owned()),
            Self::Picked(rows) => Ok(sketch.gather(x, rows, 0)?),
        }
    }
}

/// The two row counts as int64 [1].
#[derive(Clone, Debug)]
pub struct Counts {
    /// B.
    pub narrow: String,
    /// E.
    pub wide: String,
}

/// Widens a graph node by node.
pub struct Widening<'a, 'm> {
    pub sketch: &'a mut Sketch<'m>,
    pub survey: &'a Survey,
    pub counts: Counts,
    pub customised: Customised,
    wide_nodes: HashSet<NodeId>,
    wide_inputs: HashSet<String>,
    crossed: HashMap<(String, Rows), String>,
    rebound: HashMap<(String, Rows), String>,
}

impl<'a, 'm> Widening<'a, 'm> {
    /// A widening of `wide_nodes` and `wide_inputs`; nothing is changed yet.
    pub fn new(
        sketch: &'a mut Sketch<'m>,
        survey: &'a Survey,
        counts: Counts,
        customised: Customised,
        wide_nodes: HashSet<NodeId>,
        wide_inputs: HashSet<String>,
    ) -> Self {
        let (crossed, rebound) = (HashMap::new(), HashMap::new());
        Self { sketch, survey, counts, customised, wide_nodes, wide_inputs, crossed, rebound }
    }

    /// Gives every node of `nodes` operands of the rows it works on. The exits of the layers are
    /// left to the caller, who knows what C has there.
    pub fn settle(&mut self, nodes: &[NodeId]) -> Result<()> {
        let exits: HashSet<&str> =
            self.survey.layers.iter().map(|layer| layer.attention.exit.tensor.as_str()).collect();
        for &id in nodes {
            let node = self.sketch.graph.node(id).clone();
            if !node.output.iter().any(|output| self.survey.flow.is_data(output)) {
                continue;
            }
            let wanted = self.rows_of_node(id);
            for (slot, tensor) in node.input.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                let leaves = wanted == Rows::Wide && exits.contains(tensor.as_str());
                let settled = match self.survey.flow.is_data(tensor) {
                    true if leaves => continue,
                    true => self.crossing(tensor, wanted)?,
                    false => self.rebinding(tensor, wanted)?,
                };
                if settled != *tensor {
                    self.sketch.graph.set_input(id, slot, &settled)?;
                }
            }
        }
        Ok(())
    }

    fn rows_of_node(&self, id: NodeId) -> Rows {
        if self.wide_nodes.contains(&id) { Rows::Wide } else { Rows::Narrow }
    }

    fn rows_of(&self, tensor: &str) -> Rows {
        match self.sketch.graph.producer(tensor) {
            Some(id) => self.rows_of_node(id),
            None if self.wide_inputs.contains(tensor) => Rows::Wide,
            None => Rows::Narrow,
        }
    }

    fn has_rows(&self, tensor: &str) -> bool {
        let rank = self.survey.shapes.rank(tensor);
        rank != Some(0) && !matches!(self.survey.shapes.dim(tensor, 0), Some(Dim::Known(_)))
    }

    /// The data of `tensor` in as many rows as `wanted`.
    fn crossing(&mut self, tensor: &str, wanted: Rows) -> Result<String> {
        if self.rows_of(tensor) == wanted || !self.has_rows(tensor) {
            return Ok(tensor.to_owned());
        }
        let key = (tensor.to_owned(), wanted);
        if let Some(known) = self.crossed.get(&key) {
            return Ok(known.clone());
        }
        let crossed = match wanted {
            Rows::Narrow => {
                let start = self.sketch.ints(&[0])?;
                self.sketch.slice(tensor, &start, &self.counts.narrow, 0)?
            }
            Rows::Wide => {
                let more = self.customised.rows_of(self.sketch, tensor)?;
                self.sketch.concat(&[tensor.to_owned(), more], 0)?
            }
        };
        self.crossed.insert(key, crossed.clone());
        Ok(crossed)
    }

    /// The shape arithmetic `tensor` as it comes out where there are as many rows as `wanted`.
    fn rebinding(&mut self, tensor: &str, wanted: Rows) -> Result<String> {
        let Some(id) = self.sketch.graph.producer(tensor) else { return Ok(tensor.to_owned()) };
        let key = (tensor.to_owned(), wanted);
        if let Some(known) = self.rebound.get(&key) {
            return Ok(known.clone());
        }
        let node = self.sketch.graph.node(id).clone();
        let rebound = match node.op_type() {
            "Constant" | "DynamicQuantizeLinear" => tensor.to_owned(),
            "Shape" => self.asking(tensor, node.input_name(0).unwrap_or_default(), node.attr_int("start"), wanted)?,
            _ if is_beyond_rows(self.sketch.graph, id) => tensor.to_owned(),
            _ => {
                let mut inputs = Vec::with_capacity(node.input.len());
                for input in &node.input {
                    inputs.push(self.rebinding(input, wanted)?);
                }
                match inputs == node.input {
                    true => tensor.to_owned(),
                    false => {
                        let slot = node.output.iter().position(|output| output == tensor).unwrap_or(0);
                        self.sketch.copy(&node, inputs)?.swap_remove(slot)
                    }
                }
            }
        };
        self.rebound.insert(key, rebound.clone());
        Ok(rebound)
    }

    /// `shape`, the Shape of `asked`, with the first extent scaled to the rows wanted.
    fn asking(&mut self, shape: &str, asked: &str, start: Option<i64>, wanted: Rows) -> Result<String> {
        let beyond_rows = start.is_some_and(|start| start != 0);
        let settled = !self.survey.flow.is_data(asked) || self.rows_of(asked) == wanted;
        if beyond_rows || settled || !self.has_rows(asked) {
            return Ok(shape.to_owned());
        }
        let (has, wants) = match wanted {
            Rows::Narrow => (self.counts.wide.clone(), self.counts.narrow.clone()),
            Rows::Wide => (self.counts.narrow.clone(), self.counts.wide.clone()),
        };
        let [zero, one, end] = [self.sketch.ints(&[0])?, self.sketch.ints(&[1])?, self.sketch.ints(&[i64::MAX])?];
        let rows = self.sketch.slice(shape, &zero, &one, 0)?;
        let times = self.sketch.binary("Div", &rows, &has)?;
        let rows = self.sketch.binary("Mul", &times, &wants)?;
        let rest = self.sketch.slice(shape, &one, &end, 0)?;
        Ok(self.sketch.concat(&[rows, rest], 0)?)
    }
}

/// Whether a node takes extents other than the first out of a shape.
fn is_beyond_rows(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let asks = node.input_name(0).and_then(|input| graph.producer(input)).is_some_and(|id| graph.node(id).is("Shape"));
    let first = node.input_name(1).and_then(|index| constant_ints(graph, index).ok().flatten());
    let beyond = || first.is_some_and(|indices| indices.iter().all(|index| *index > 0));
    asks && matches!(node.op_type(), "Gather" | "Slice") && beyond()
}

/// Refuses exports whose rows cannot be changed.
pub fn must_be_free(survey: &Survey, graph: &Graph, variant: Variant) -> Result<()> {
    let exits = survey.layers.iter().map(|layer| layer.attention.exit.tensor.as_str());
    let inputs = graph
        .inputs()
        .iter()
        .map(|input| input.name())
        .filter(|name| survey.shapes.rank(name).is_some_and(|rank| rank >= 3) && survey.flow.is_data(name));
    let baked = |tensor: &str| survey.shapes.dim(tensor, 0).and_then(Dim::known);
    match inputs.chain(exits).find_map(|tensor| Some((tensor, baked(tensor)?))) {
        None => Ok(()),
        Some((tensor, rows)) => Err(Error::Variant {
            variant,
            reason: format!(
                "the batch size is baked into this export ('{tensor}' has {rows} rows). \
                 Export it with a dynamic batch axis, or use the f and c graphs"
            ),
        }),
    }
}
