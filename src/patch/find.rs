use std::collections::HashMap;
use std::path::PathBuf;

use super::anchor::{Attends, Matcher, Part, Place};
use super::exit::{joined, leave};
use super::flow::DataFlow;
use super::layout::{Axis, Sizes};
use super::survey::{Attention, CrossAttention, NearMiss, Survey};
use super::trail::Trail;
use super::{Parts, Recipe, Result, paths, recipe, refusal};
use crate::onnx::infer::{Dim, Shapes};
use crate::onnx::{DataType, Model, NodeExt, NodeId};

/// The context's name in every export that keeps the names of the diffusers library.
const CONTEXT: &str = "encoder_hidden_states";

/// What a user may say about where to look.
#[derive(Clone, Debug, Default)]
pub struct FindOptions {
    /// The graph input that holds the prompt's hidden states; found if not stated.
    pub context: Option<String>,
    /// A folder with further recipes, tried before the embedded ones.
    pub recipes: Option<PathBuf>,
}

/// Finds the attention layers of a UNet by data flow.
///
/// # Errors
/// The model is no Stable Diffusion UNet with a context, or is one that was patched before; a
/// recipe is malformed.
pub fn find(model: &Model, shapes: &Shapes, options: &FindOptions) -> Result<Survey> {
    refusal::before_looking(model)?;
    let mut recipes = options.recipes.as_deref().map(recipe::from_folder).transpose()?.unwrap_or_default();
    recipes.extend(recipe::embedded()?);
    let flow = DataFlow::trace(&model.graph)?;
    let search = Search { model, shapes, flow: &flow, recipes: &recipes };
    let (found, mut near_misses) = search.anchors()?;
    let context_input = search.context(&found, options.context.as_deref(), &near_misses)?;

    let (mut layers, mut self_attention) = (Vec::new(), Vec::new());
    for (attends, parts) in search.grouped(found) {
        let place = parts.first().map(|part| model.graph.node(part.anchor).place()).unwrap_or_default();
        let missed = |reason, cross| NearMiss { node: place, reason, cross };
        match (attends, search.attention(parts)) {
            (Attends::To(input), _) if input != context_input => {
                near_misses.push(missed(format!("it attends to '{input}', not to '{context_input}'"), false));
            }
            (Attends::To(_), Ok(attention)) => layers.push(attention),
            (Attends::To(_), Err(reason)) => near_misses.push(missed(reason, true)),
            (Attends::ToItself, Ok(attention)) => self_attention.push(attention),
            (Attends::ToItself, Err(reason)) => near_misses.push(missed(reason, false)),
            (Attends::Otherwise(reason), _) => near_misses.push(missed(reason, true)),
        }
    }
    if layers.is_empty() {
        return Err(refusal::without_layers(model, self_attention.len(), &near_misses));
    }
    let module_paths = paths::name(model, &layers);
    let layers: Vec<CrossAttention> = layers.into_iter().zip(module_paths).enumerate().map(numbered).collect();
    let float_type = shapes.elem_type(&context_input).unwrap_or(DataType::Float);
    Ok(Survey { context_input, float_type, layers, self_attention, near_misses, flow, shapes: shapes.clone() })
}

fn numbered((index, (attention, module_path)): (usize, (Attention, String))) -> CrossAttention {
    let heads = attention.sizes.heads as usize;
    CrossAttention {
        index,
        module_path,
        dialect: attention.parts.first().map(|part| part.dialect.clone()).unwrap_or_default(),
        heads,
        width: heads * attention.sizes.width as usize,
        attention,
    }
}

/// An anchor and what it attends to.
type Anchored = (Attends, Part);

struct Search<'a> {
    model: &'a Model,
    shapes: &'a Shapes,
    flow: &'a DataFlow,
    recipes: &'a [Recipe],
}

impl<'a> Search<'a> {
    fn trail(&self) -> Trail<'a> {
        Trail { graph: &self.model.graph, flow: self.flow }
    }

    /// All anchors that a recipe describes, in execution order, and those that none does.
    fn anchors(&self) -> Result<(Vec<Anchored>, Vec<NearMiss>)> {
        let matcher = Matcher {
            trail: self.trail(),
            shapes: self.shapes,
            recipes: self.recipes,
            opset: self.model.opset("").unwrap_or(13),
        };
        let (mut found, mut missed) = (Vec::new(), Vec::new());
        for id in self.model.graph.topological_order()? {
            let node = self.model.graph.node(id);
            if !matcher.is_anchor(node) {
                continue;
            }
            match matcher.matched(id) {
                Ok(part) => found.push((Attends::of(&part, self.flow), part)),
                Err(reason) => missed.push(NearMiss { node: node.place(), reason, cross: self.joins_inputs(id) }),
            }
        }
        Ok((found, missed))
    }

    /// Whether the anchor's scores are a product of operands from different data.
    fn joins_inputs(&self, anchor: NodeId) -> bool {
        let sources = |node: NodeId| {
            let inputs = self.flow.data_inputs(self.model.graph.node(node));
            inputs.iter().map(|(_, name)| self.flow.sources(name)).collect::<Vec<_>>()
        };
        let differ = |found: Vec<_>| found.windows(2).any(|pair| pair[0] != pair[1]);
        let node = self.model.graph.node(anchor);
        let product = node.input_name(0).and_then(|input| {
            self.trail().back(input, |node| self.flow.data_inputs(node).len() >= 2 && !node.is("Add"))
        });
        differ(sources(anchor)) || product.is_some_and(|product| differ(sources(product.node)))
    }

    /// The input that K and V come from: as stated, or by its usual name, or the one most anchors attend to.
    fn context(&self, found: &[Anchored], stated: Option<&str>, missed: &[NearMiss]) -> Result<String> {
        let mut attended: HashMap<&str, usize> = HashMap::new();
        for (attends, _) in found {
            if let Attends::To(input) = attends {
                *attended.entry(input).or_default() += 1;
            }
        }
        match stated {
            Some(name) if !self.model.graph.is_input(name) => {
                Err(refusal::refused(self.model, format!("it has no input '{name}' to take as the context")))
            }
            Some(name) => Ok(name.to_owned()),
            None if attended.contains_key(CONTEXT) => Ok(CONTEXT.to_owned()),
            None => {
                let most = attended.into_iter().max_by_key(|(name, count)| (*count, std::cmp::Reverse(*name)));
                most.map(|(name, _)| name.to_owned()).ok_or_else(|| {
                    let own = found.iter().filter(|(attends, _)| *attends == Attends::ToItself).count();
                    refusal::without_layers(self.model, own, missed)
                })
            }
        }
    }

    /// The anchors of one layer together, layers in execution order: those that read one K, or whose
    /// results one Concat joins.
    fn grouped(&self, found: Vec<Anchored>) -> Vec<(Attends, Vec<Part>)> {
        let mut groups: Vec<(Option<NodeId>, Attends, Vec<Part>)> = Vec::new();
        for (attends, part) in found {
            let together = match part.parts {
                Parts::One => None,
                Parts::Rows => self.trail().projection(&part.key.tensor).map(|projection| projection.node),
                Parts::Heads => {
                    self.trail().forward(&part.result.tensor, |node| node.is("Concat")).map(|join| join.node)
                }
            };
            match groups.iter_mut().find(|group| together.is_some() && group.0 == together) {
                Some(group) => group.2.push(part),
                None => groups.push((together, attends, vec![part])),
            }
        }
        groups.into_iter().map(|(_, attends, parts)| (attends, parts)).collect()
    }

    fn attention(&self, parts: Vec<Part>) -> Result<Attention, String> {
        let (graph, sizes) = (&self.model.graph, self.sizes(&parts)?);
        let (parts, result) = joined(self.trail(), self.shapes, parts, &sizes)?;
        let exit = leave(graph, self.shapes, &result, &sizes);
        Ok(Attention { parts, sizes, exit })
    }

    /// The sizes of a layer over all of its parts.
    fn sizes(&self, parts: &[Part]) -> Result<Sizes, String> {
        let part = parts.first().ok_or("it has no anchor")?;
        let dim = |place: &Place, axis: Axis, with: &[Axis]| {
            let at = place.layout.extent_of(axis)?;
            (place.layout.0[at] == with).then(|| self.shapes.dim(&place.tensor, at as i64).cloned())?
        };
        let over_parts = |with: &[Axis]| {
            let dims: Option<Vec<Dim>> = parts.iter().map(|part| dim(&part.value, Axis::Heads, with)).collect();
            Some(dims?.iter().fold(Dim::Known(0), |sum, dim| sum.plus(dim)))
        };
        let rows = self.projected_rows(part);
        let stated = part.stated_heads.filter(|heads| *heads > 0);
        let alone = || over_parts(&[Axis::Heads])?.known();
        let in_rows = || over_parts(&[Axis::Rows, Axis::Heads])?.over_exactly(&rows)?.known();
        let heads = stated.or_else(alone).or_else(in_rows);
        let heads = heads.filter(|heads| *heads > 0).ok_or("how many heads it has cannot be told from its shapes")?;
        let own = || dim(&part.value, Axis::Width, &[Axis::Width])?.known();
        let together = || Some(dim(&part.value, Axis::Width, &[Axis::Heads, Axis::Width])?.known()? / heads);
        let width = own().or_else(together);
        let width = width.filter(|width| *width > 0).ok_or("how wide its heads are cannot be told from its shapes")?;
        let size = |place, axis| dim(place, axis, &[axis]).unwrap_or(Dim::Unknown);
        Ok(Sizes { rows, heads, query: size(&part.query, Axis::Query), tokens: size(&part.value, Axis::Tokens), width })
    }

    /// The rows that V was projected from.
    fn projected_rows(&self, part: &Part) -> Dim {
        let projection = self.trail().projection(&part.value.tensor);
        let made = projection.and_then(|found| self.model.graph.node(found.node).output_name(found.slot));
        made.and_then(|tensor| self.shapes.dim(tensor, 0)).cloned().unwrap_or(Dim::Unknown)
    }
}
