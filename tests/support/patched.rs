//! The graphs of one dialect, run through ONNX Runtime on the inputs of its reference file.
#![allow(dead_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use infusion::onnx::Model;
use infusion::onnx::infer::infer;
use infusion::patch::{EmitOptions, FindOptions, Survey, Variant, emit, find};
use infusion::runtime::{ElementType, Session, SessionOptions, Tensor};
use ndarray::{ArrayD, ArrayViewD, Axis, Ix2, IxDyn};
use prost::Message;
use safetensors::{Dtype, SafeTensors};

use super::dialects::{Dialect, Value};

/// Tensors by name, floats as `f32`.
pub type Named = HashMap<String, ArrayD<f32>>;

pub struct Graphs {
    dialect: Dialect,
    model: Model,
    pub survey: Survey,
    references: Named,
    /// Making sessions is what these tests spend their time on.
    sessions: RefCell<HashMap<(Variant, String), Rc<Session>>>,
}

impl Graphs {
    pub fn of(dialect: &Dialect) -> Self {
        let model = Model::open(dialect.model()).unwrap();
        let survey = find(&model, &infer(&model), &FindOptions::default());
        let survey = survey.unwrap_or_else(|error| panic!("{}: {error}", dialect.name));
        let bytes = std::fs::read(dialect.reference()).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let references = tensors.iter().map(|(name, view)| (name.to_owned(), floats(&view))).collect();
        Self { dialect: dialect.clone(), model, survey, references, sessions: RefCell::default() }
    }

    pub fn reference(&self, name: &str) -> ArrayViewD<'_, f32> {
        self.references.get(name).unwrap_or_else(|| panic!("no reference {name}")).view()
    }

    /// What the source makes of the reference's inputs.
    pub fn source(&self) -> Named {
        let session = Session::open(self.dialect.model(), &options()).unwrap();
        run(&session, &self.source_feeds())
    }

    pub fn run(&self, variant: Variant, feeds: Named) -> Named {
        self.run_with(variant, feeds, &EmitOptions::default())
    }

    pub fn run_with(&self, variant: Variant, feeds: Named, options: &EmitOptions) -> Named {
        run(&self.session(variant, options), &feeds)
    }

    fn session(&self, variant: Variant, options: &EmitOptions) -> Rc<Session> {
        let made = || Rc::new(self.open(&self.emitted(variant, options), variant.name()));
        self.sessions.borrow_mut().entry((variant, format!("{options:?}"))).or_insert_with(made).clone()
    }

    pub fn emitted(&self, variant: Variant, options: &EmitOptions) -> Model {
        let model = emit(&self.model, &self.survey, variant, options);
        model.unwrap_or_else(|error| panic!("{}: {error}", self.dialect.name))
    }

    /// A session of `model`, whose weights lie beside the dialect's model.
    fn open(&self, model: &Model, name: &str) -> Session {
        let bytes = model.to_proto().unwrap().encode_to_vec();
        let folder = self.dialect.model().parent().unwrap().to_owned();
        let beside = tempfile::Builder::new().suffix(".onnx").tempfile_in(folder).unwrap();
        std::fs::write(beside.path(), bytes).unwrap();
        Session::open(beside.path(), &options()).unwrap_or_else(|error| panic!("{}.{name}: {error}", self.dialect.name))
    }

    /// How many attentions `--fuse` rewrites.
    pub fn fused(&self) -> usize {
        infusion::patch::fuse(&self.model, &self.survey).unwrap().1
    }

    /// What the graph makes of the source's inputs with the slots of `label` baked in, the mask as in its last row.
    pub fn baked(&self, label: &str) -> Named {
        let [mask, delta] = ["mask", "delta"].map(|kind| self.reference(&format!("{kind}.{label}")));
        let last = mask.shape()[0] - 1;
        let mask = mask.index_axis_move(Axis(0), last).into_dimensionality::<Ix2>().unwrap();
        let delta = delta.into_dimensionality::<Ix2>().unwrap();
        let baked = infusion::patch::Baked { mask, delta, rows: &[-1] };
        let model = infusion::patch::bake(&self.model, &self.survey, baked, &EmitOptions::default()).unwrap();
        run(&self.open(&model, "baked"), &self.source_feeds())
    }

    /// Why `variant` cannot be made.
    pub fn refusal(&self, variant: Variant) -> String {
        emit(&self.model, &self.survey, variant, &EmitOptions::default()).unwrap_err().to_string()
    }

    /// Twice the rows of all but the context, C's latents after F's.
    pub fn dual_feeds(&self, label: Option<&str>) -> Named {
        let mut feeds = self.source_feeds();
        for (name, tensor) in &mut feeds {
            let rows =
                self.dialect.inputs.iter().find(|input| input.name == *name).and_then(|input| input.dims.first());
            if *name != self.survey.context_input && rows.is_some_and(serde_json::Value::is_string) {
                *tensor = ndarray::concatenate(Axis(0), &[tensor.view(), tensor.view()]).unwrap();
            }
        }
        feeds.insert("sample".to_owned(), self.reference("dual.sample").to_owned());
        feeds.extend(label.into_iter().flat_map(|label| self.slots(label)));
        feeds
    }

    pub fn shared_feeds(&self, label: &str) -> Named {
        let mut feeds = self.source_feeds();
        feeds.extend(self.slots(label));
        feeds.insert("infusion.rows".to_owned(), self.reference("shared.rows").to_owned());
        feeds
    }

    fn slots(&self, label: &str) -> [(String, ArrayD<f32>); 2] {
        ["mask", "delta"]
            .map(|kind| (format!("infusion.{kind}"), self.reference(&format!("{kind}.{label}")).to_owned()))
    }

    /// The reference's inputs in the source's own dims; inputs that it lacks are zero, of extent 1 where only
    /// adding them tells (residuals).
    pub fn source_feeds(&self) -> Named {
        self.dialect.inputs.iter().map(|input| (input.name.clone(), self.feed(input))).collect()
    }

    fn feed(&self, input: &Value) -> ArrayD<f32> {
        let rows = self.reference("sample").shape()[0];
        let free = |axis: usize| if axis == 0 { rows } else { 1 };
        let dims = input.dims.iter().enumerate();
        let dims = || dims.clone().map(|(axis, dim)| dim.as_u64().map_or(free(axis), |dim| dim as usize));
        let dims = || dims().collect::<Vec<_>>();
        match input.name.as_str() {
            "timestep" => ArrayD::from_elem(IxDyn(&dims()), self.reference("timestep")[IxDyn(&[])]),
            name if self.references.contains_key(name) => self.reference(name).to_owned(),
            _ => ArrayD::zeros(IxDyn(&dims())),
        }
    }

    /// F's maps and values for C, the values with Δ in the rows that the mask of `label` names.
    pub fn c_feeds(&self, maps: &Named, label: Option<&str>) -> Named {
        let mut feeds = self.source_feeds();
        feeds.remove(&self.survey.context_input);
        let offsets = self.survey.offsets();
        for (layer, offset) in self.survey.layers.iter().zip(offsets) {
            let [probs, value] = ["probs", "value"].map(|kind| format!("infusion.{}.{kind}", layer.index));
            let mut values = maps[&value].clone();
            if let Some(label) = label {
                let mask = self.reference(&format!("mask.{label}"));
                let delta = self.reference(&format!("delta.{label}"));
                let own = delta.slice_axis(Axis(1), (offset..offset + layer.width).into());
                let own = own.into_dimensionality::<Ix2>().unwrap();
                for (mut rows, weights) in values.axis_iter_mut(Axis(0)).zip(mask.axis_iter(Axis(0))) {
                    rows += &weights.into_dimensionality::<Ix2>().unwrap().dot(&own);
                }
            }
            feeds.insert(probs.clone(), maps[&probs].clone());
            feeds.insert(value, values);
        }
        feeds
    }
}

/// One thread: the tests run side by side.
fn options() -> SessionOptions {
    SessionOptions { threads: Some(1), ..SessionOptions::default() }
}

fn floats(view: &safetensors::tensor::TensorView) -> ArrayD<f32> {
    let data = match view.dtype() {
        Dtype::F32 => view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::I64 => view.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
        other => panic!("a reference of type {other:?}"),
    };
    ArrayD::from_shape_vec(IxDyn(view.shape()), data).unwrap()
}

fn run(session: &Session, feeds: &Named) -> Named {
    let typed: Vec<(&str, Tensor)> = feeds
        .iter()
        .map(|(name, values)| {
            let spec = session.input(name).unwrap_or_else(|| panic!("no input {name}"));
            (name.as_str(), Tensor::F32(values.clone()).cast(spec.element_type))
        })
        .collect();
    let feeds: Vec<(&str, &Tensor)> = typed.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let mut outputs = session.run(&feeds).unwrap();
    let names: Vec<String> = outputs.names().map(str::to_owned).collect();
    names
        .into_iter()
        .map(|name| (name.clone(), outputs.take(&name).unwrap().cast(ElementType::F32).into_f32()))
        .collect()
}

/// The largest difference, relative to the largest element of `expected`.
pub fn difference(found: &ArrayD<f32>, expected: ArrayViewD<f32>) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let largest = expected.iter().fold(0f64, |largest, x| largest.max(f64::from(x.abs())));
    let apart = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    apart.fold(0f64, |most, apart| if apart.is_nan() { f64::INFINITY } else { most.max(apart) }) / largest
}

/// The distance of the two as a whole (Frobenius), relative to `expected`.
pub fn mean_difference(found: &ArrayD<f32>, expected: ArrayViewD<f32>) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let apart: f64 = found.iter().zip(&expected).map(|(a, b)| square(a - b)).sum();
    let whole: f64 = expected.iter().map(|x| square(*x)).sum();
    if apart.is_nan() { f64::INFINITY } else { (apart / whole).sqrt() }
}

pub fn same_bits(a: &ArrayD<f32>, b: &ArrayD<f32>) -> bool {
    a.shape() == b.shape() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
