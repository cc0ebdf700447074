use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{Error, Layout, Result};
use crate::onnx::proto::NodeProto;
use crate::onnx::{DataType, NodeExt};

/// How one dialect writes attention: which operator anchors it and where everything hangs.
///
/// One JSON file each under `graph-patches/`; an attention belongs to the first recipe that
/// describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The dialect's name, which must be unique.
    pub name: String,
    /// Which exporters write it.
    pub exporters: String,
    /// `Softmax`, or the fused operator.
    pub anchor: Operator,
    /// The products around a Softmax; none for a fused operator.
    pub products: Option<Products>,
    /// Q: an operand of the score product or of the fused operator.
    pub query: Operand,
    /// K, likewise.
    pub key: Operand,
    /// V: an operand of the value product or of the fused operator.
    pub value: Operand,
    /// The probabilities, an operand of the value product; none for a fused operator.
    pub probs: Option<Operand>,
    /// The layout of what the value product or the fused operator makes.
    pub result: Layout,
    /// The fused operator's attribute that counts heads, where the shapes do not show them.
    pub heads: Option<String>,
    /// The fused operator's attribute that scales the scores; 1/√w if absent.
    pub scale: Option<String>,
    /// The fused operator's operand with a constant bias, Q's, K's and V's side by side.
    pub bias: Option<usize>,
    /// Operands of the fused operator that must be absent: masks, biases, caches.
    #[serde(default)]
    pub absent: Vec<usize>,
    /// Into how many anchors a layer is divided.
    #[serde(default)]
    pub parts: Parts,
    /// What else tells it apart.
    #[serde(default)]
    pub when: Conditions,
}

/// An operator, perhaps with attributes that it must have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The operator's type.
    pub op: String,
    /// Its domain.
    #[serde(default)]
    pub domain: String,
    /// An Einsum's equation, up to the choice of letters.
    pub equation: Option<String>,
    /// Integer attributes; one that the node lacks counts as 0.
    #[serde(default)]
    pub attributes: BTreeMap<String, i64>,
}

/// The two products around a Softmax.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Products {
    /// Q · Kᵀ.
    pub scores: Operator,
    /// Probabilities · V.
    pub output: Operator,
}

/// Where an operand is and how its axes lie.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operand {
    /// The input's position.
    pub slot: usize,
    /// Its axes.
    pub layout: Layout,
    /// Which of a packed pair it is: 0 or 1.
    pub pick: Option<i64>,
}

/// Into how many anchors a layer is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Parts {
    /// One anchor does all.
    #[default]
    One,
    /// One anchor for each run of (row, head) pairs.
    Rows,
    /// One anchor for each head.
    Heads,
}

/// What tells dialects apart whose operators are the same; everything stated must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Softmax works in another float type than the value product.
    pub upcast: Option<bool>,
    /// Probabilities or operands pass through QuantizeLinear.
    pub quantised: Option<bool>,
    /// The operator that projects the context to K.
    pub projection: Option<String>,
    /// The operator that parts K from V after one projection made both.
    pub parted_by: Option<String>,
}

/// What [`Conditions`] are about, as found at one anchor.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    /// The element types of Softmax's input and of the value product's probabilities.
    pub types: Option<(DataType, DataType)>,
    /// The operators between the products, and from K back to its projection, which comes last.
    pub passed: Vec<String>,
}

impl Operator {
    /// Whether `node` is this operator.
    pub fn matches(&self, node: &NodeProto) -> bool {
        let equation = || node.attr_str("equation").map(renamed);
        node.op_type() == self.op
            && node.domain_name() == self.domain
            && self.equation.as_deref().is_none_or(|wanted| equation() == Some(renamed(wanted)))
            && self.attributes.iter().all(|(name, wanted)| node.attr_int(name).unwrap_or(0) == *wanted)
    }
}

impl Conditions {
    /// Whether all that is stated holds.
    pub fn hold(&self, traits: &Traits) -> bool {
        let passed = |op: &str| traits.passed.iter().any(|other| other == op);
        let upcast = traits.types.is_some_and(|(softmax, probs)| softmax != probs);
        self.upcast.is_none_or(|wanted| wanted == upcast)
            && self.quantised.is_none_or(|wanted| wanted == passed("DequantizeLinear"))
            && self.projection.as_ref().is_none_or(|wanted| traits.passed.last() == Some(wanted))
            && self.parted_by.as_deref().is_none_or(passed)
    }
}

/// An Einsum equation with letters named in order of appearance, without spaces.
fn renamed(equation: &str) -> String {
    let mut seen: Vec<char> = Vec::new();
    let mut rename = |letter: char| {
        let position = seen.iter().position(|known| *known == letter).unwrap_or_else(|| {
            seen.push(letter);
            seen.len() - 1
        });
        char::from(b'a' + (position % 26) as u8)
    };
    let letters = equation.chars().filter(|c| !c.is_whitespace());
    letters.map(|c| if c.is_alphabetic() { rename(c) } else { c }).collect()
}

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../graph-patches/", $name, ".json")))),*]
    };
}

/// The recipes of this program, special ones first. To add one: put its file into `graph-patches/`,
/// its name here before any recipe that would also match, and its line into `graph-patches/README.md`.
const EMBEDDED: &[(&str, &str)] = embedded![
    "qdq",
    "qdq-baddbmm",
    "sliced",
    "per-head",
    "fused-projections",
    "dynamic-int8",
    "dynamic-int8-baddbmm",
    "upcast-sdpa",
    "upcast-baddbmm",
    "sdpa",
    "baddbmm",
    "einsum",
    "fused-matmul",
    "fused-matmul-4d",
    "fused-matmul-plain",
    "fused-matmul-plain-4d",
    "attention-23",
    "attention-23-3d",
    "ms-mha",
    "ms-mha-packed-kv"
];

/// The recipes that the program brings along, in the order in which they are tried.
///
/// # Errors
/// An embedded file is malformed, which a test rules out.
pub fn embedded() -> Result<Vec<Recipe>> {
    EMBEDDED.iter().map(|(name, text)| parse(text, Path::new(name))).collect()
}

/// The recipes in the `*.json` files of `folder`, in order of file name.
///
/// # Errors
/// The folder cannot be read, or a file is no recipe.
pub fn from_folder(folder: &Path) -> Result<Vec<Recipe>> {
    let wrong = |path: &Path, reason: std::io::Error| Error::Recipe { path: path.into(), reason: reason.to_string() };
    let entries = std::fs::read_dir(folder).map_err(|error| wrong(folder, error))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(|error| wrong(folder, error))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path| parse(&std::fs::read_to_string(path).map_err(|error| wrong(path, error))?, path);
    paths.iter().map(|path| read(path)).collect()
}

fn parse(text: &str, path: &Path) -> Result<Recipe> {
    let wrong = |reason: String| Error::Recipe { path: path.into(), reason };
    let recipe: Recipe = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if recipe.products.is_some() != recipe.probs.is_some() {
        return Err(wrong("'products' and 'probs' belong together: a fused operator has neither".to_owned()));
    }
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::NodeBuilder;

    #[test]
    fn embedded_recipes_are_well_formed_and_named_after_their_files() {
        let names: Vec<String> = embedded().unwrap().into_iter().map(|recipe| recipe.name).collect();
        assert_eq!(names, EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    }

    #[test]
    fn every_recipe_has_its_line_in_the_readme() {
        let readme = include_str!("../../graph-patches/README.md");
        for (name, _) in EMBEDDED {
            assert!(readme.contains(&format!("| `{name}` |")), "{name}");
        }
    }

    #[test]
    fn equations_match_whatever_their_letters() {
        let operator = Operator {
            op: "Einsum".to_owned(),
            domain: String::new(),
            equation: Some("bid,bjd->bij".to_owned()),
            attributes: BTreeMap::new(),
        };
        let node = |equation: &str| NodeBuilder::new("Einsum").attr("equation", equation).build();
        assert!(operator.matches(&node("b i d, b j d -> b i j")));
        assert!(operator.matches(&node("xyz,xwz->xyw")));
        assert!(!operator.matches(&node("bij,bjd->bid")));
    }
}
