use super::flow::DataFlow;
use super::recipe::{Operand, Products, Recipe, Traits};
use super::trail::{Reached, Trail};
use super::{Layout, Parts};
use crate::onnx::infer::Shapes;
use crate::onnx::proto::NodeProto;
use crate::onnx::{Graph, NodeExt, NodeId};

/// An operand of an attention, where a recipe located it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The tensor.
    pub tensor: String,
    /// How its axes lie.
    pub layout: Layout,
    /// Which of a packed pair is meant: 0 or 1.
    pub pick: Option<i64>,
    /// The constant that is still to be added, and at which of its thirds: 0, 1 or 2.
    pub bias: Option<(String, i64)>,
}

/// One softmax or fused attention operator, with everything around it.
#[derive(Clone, Debug)]
pub struct Part {
    /// The name of the recipe that describes it.
    pub dialect: String,
    /// The Softmax or the fused operator.
    pub anchor: NodeId,
    /// The value product or the fused operator.
    pub output: NodeId,
    /// Q.
    pub query: Place,
    /// K.
    pub key: Place,
    /// V.
    pub value: Place,
    /// The probabilities; none inside a fused operator.
    pub probs: Option<Place>,
    /// What the value product or the fused operator makes.
    pub result: Place,
    /// Into how many anchors the layer is divided.
    pub parts: Parts,
    /// The heads that an attribute states.
    pub stated_heads: Option<i64>,
    /// The scale that an attribute states.
    pub stated_scale: Option<f32>,
}

/// Matches anchors of one model against the recipes.
pub struct Matcher<'a> {
    pub trail: Trail<'a>,
    pub shapes: &'a Shapes,
    pub recipes: &'a [Recipe],
    /// The version of the standard operators.
    pub opset: i64,
}

impl Matcher<'_> {
    /// Whether some recipe is anchored at such a node.
    pub fn is_anchor(&self, node: &NodeProto) -> bool {
        self.recipes.iter().any(|recipe| recipe.anchor.matches(node))
    }

    /// The attention around `anchor` as the first recipe that describes it sees it; if none does,
    /// why the one that came furthest does not.
    pub fn matched(&self, anchor: NodeId) -> Result<Part, String> {
        let node = self.trail.graph.node(anchor);
        let mut best = (0, "no recipe is anchored at this operator".to_owned());
        for recipe in self.recipes.iter().filter(|recipe| recipe.anchor.matches(node)) {
            match self.described(anchor, recipe) {
                Ok(part) => return Ok(part),
                Err(Mismatch(depth, reason)) if depth > best.0 => best = (depth, reason),
                Err(_) => {}
            }
        }
        Err(best.1)
    }

    fn described(&self, anchor: NodeId, recipe: &Recipe) -> Result<Part, Mismatch> {
        let part = match &recipe.products {
            Some(products) => self.around_softmax(anchor, recipe, products)?,
            None => self.fused(anchor, recipe)?,
        };
        let places = [&part.query, &part.key, &part.value, &part.result];
        for place in places.into_iter().chain(&part.probs) {
            let rank = self.shapes.rank(&place.tensor);
            if rank != Some(place.layout.rank()) {
                let found = rank.map_or("an unknown number of".to_owned(), |rank| rank.to_string());
                return Err(mismatch(3, format!("'{}' has {found} axes, not {}", place.tensor, place.layout)));
            }
        }
        if !recipe.when.hold(&self.traits(&part)) {
            return Err(mismatch(4, format!("it is not written as recipe '{}' demands", recipe.name)));
        }
        Ok(part)
    }

    fn around_softmax(&self, anchor: NodeId, recipe: &Recipe, products: &Products) -> Result<Part, Mismatch> {
        let (graph, flow) = (self.trail.graph, self.trail.flow);
        let softmax = graph.node(anchor);
        let (Some(input), Some(output)) = (softmax.input_name(0), softmax.output_name(0)) else {
            return Err(mismatch(1, "it lacks an input or output".to_owned()));
        };
        let joins_data = |node: &NodeProto| flow.data_inputs(node).len() >= 2;
        let scores = self.trail.back(input, |node| products.scores.matches(node) && joins_data(node));
        let scores =
            scores.ok_or_else(|| mismatch(1, format!("no {} of two data operands leads to it", products.scores.op)))?;
        let product = self.trail.forward(output, |node| products.output.matches(node) && joins_data(node));
        let product = product
            .ok_or_else(|| mismatch(2, format!("its probabilities reach no {} with data", products.output.op)))?;
        let probs = recipe.probs.as_ref().map(|probs| place(graph, product.node, probs)).transpose()?;
        let expected = recipe.probs.as_ref().map(|probs| probs.slot);
        if expected != Some(product.slot) {
            return Err(mismatch(2, "its probabilities are the other operand of the value product".to_owned()));
        }
        let part = Part {
            dialect: recipe.name.clone(),
            anchor,
            output: product.node,
            query: place(graph, scores.node, &recipe.query)?,
            key: place(graph, scores.node, &recipe.key)?,
            value: place(graph, product.node, &recipe.value)?,
            probs,
            result: result(graph, product.node, &recipe.result)?,
            parts: recipe.parts,
            stated_heads: None,
            stated_scale: None,
        };
        self.over_the_last_axis(softmax)?;
        Ok(part)
    }

    fn fused(&self, anchor: NodeId, recipe: &Recipe) -> Result<Part, Mismatch> {
        let graph = self.trail.graph;
        let node = graph.node(anchor);
        if let Some(slot) = recipe.absent.iter().find(|slot| node.input_name(**slot).is_some()) {
            return Err(mismatch(2, format!("its operand {slot} is not handled")));
        }
        let bias = recipe.bias.and_then(|slot| node.input_name(slot)).map(str::to_owned);
        if bias.as_ref().is_some_and(|bias| self.trail.flow.is_data(bias)) {
            return Err(mismatch(2, "its bias is no constant".to_owned()));
        }
        let biased = |operand: &Operand, third: i64| {
            let place = place(graph, anchor, operand)?;
            Ok(Place { bias: bias.clone().map(|bias| (bias, third)), ..place })
        };
        Ok(Part {
            dialect: recipe.name.clone(),
            anchor,
            output: anchor,
            query: biased(&recipe.query, 0)?,
            key: biased(&recipe.key, 1)?,
            value: biased(&recipe.value, 2)?,
            probs: None,
            result: result(graph, anchor, &recipe.result)?,
            parts: recipe.parts,
            stated_heads: recipe.heads.as_deref().and_then(|name| node.attr_int(name)),
            stated_scale: recipe.scale.as_deref().and_then(|name| node.attr_float(name)).filter(|scale| *scale != 0.0),
        })
    }

    fn over_the_last_axis(&self, softmax: &NodeProto) -> Result<(), Mismatch> {
        let last = softmax.input_name(0).and_then(|input| self.shapes.rank(input)).map(|rank| rank as i64 - 1);
        let unstated = if self.opset < 13 { 1 } else { -1 };
        match softmax.attr_int("axis").unwrap_or(unstated) {
            -1 => Ok(()),
            axis if Some(axis) == last => Ok(()),
            axis => Err(mismatch(2, format!("it runs over axis {axis}, not the last one"))),
        }
    }

    fn traits(&self, part: &Part) -> Traits {
        let softmax = self.trail.graph.node(part.anchor).input_name(0).and_then(|name| self.shapes.elem_type(name));
        let probs = part.probs.as_ref().and_then(|probs| self.shapes.elem_type(&probs.tensor));
        let mut passed = Vec::new();
        if let Some(Reached { passed: nodes, .. }) =
            part.probs.as_ref().and_then(|probs| self.trail.back(&probs.tensor, |node| node.is("Softmax")))
        {
            passed.extend(self.trail.op_types(&nodes));
        }
        if let Some(projection) = self.trail.projection(&part.key.tensor) {
            passed.extend(self.trail.op_types(&projection.passed));
            passed.extend(self.trail.op_types(&[projection.node]));
        }
        Traits { types: softmax.zip(probs), passed }
    }
}

/// Why a recipe does not describe an anchor, and how far it got.
struct Mismatch(usize, String);

fn mismatch(depth: usize, reason: String) -> Mismatch {
    Mismatch(depth, reason)
}

fn place(graph: &Graph, node: NodeId, operand: &Operand) -> Result<Place, Mismatch> {
    let tensor = graph.node(node).input_name(operand.slot);
    let tensor =
        tensor.ok_or_else(|| mismatch(2, format!("{} lacks operand {}", graph.node(node).place(), operand.slot)))?;
    Ok(Place { tensor: tensor.to_owned(), layout: operand.layout.clone(), pick: operand.pick, bias: None })
}

fn result(graph: &Graph, node: NodeId, layout: &Layout) -> Result<Place, Mismatch> {
    let tensor = graph.node(node).output_name(0);
    let tensor = tensor.ok_or_else(|| mismatch(2, format!("{} makes nothing", graph.node(node).place())))?;
    Ok(Place { tensor: tensor.to_owned(), layout: layout.clone(), pick: None, bias: None })
}

/// What Q, K and V of an attention are computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attends {
    /// Q and K come from the same data.
    ToItself,
    /// K and V come from this one graph input, Q from more.
    To(String),
    /// Something else, in words.
    Otherwise(String),
}

impl Attends {
    /// Tells it from the data flow.
    pub fn of(part: &Part, flow: &DataFlow) -> Self {
        let [query, key, value] = [&part.query, &part.key, &part.value].map(|place| flow.sources(&place.tensor));
        let (Some(query), Some(key), Some(value)) = (query, key, value) else {
            return Self::Otherwise("one of Q, K and V is no data".to_owned());
        };
        match (flow.only_input(key), flow.only_input(value)) {
            _ if query == key && key == value => Self::ToItself,
            (Some(input), Some(same)) if input == same => Self::To(input.to_owned()),
            _ => Self::Otherwise("K and V do not come from one graph input alone".to_owned()),
        }
    }
}
