//! The step level of the C ABI on exports of other kinds: further inputs, half precision, fixed batches, every
//! declaration of the timestep. Both choices of graphs must draw the same, and rows without a concept are the
//! source's own.

#[path = "support/capi.rs"]
mod capi;
#[path = "support/dialects.rs"]
mod dialects;
#[path = "support/patched.rs"]
mod patched;

use std::ffi::CString;
use std::path::Path;

use capi::{CONDITIONAL, Host, ONE_GRAPH, OwnedRow, TWO_GRAPHS, UNCONDITIONAL, Unet, unet_options};
use dialects::Dialect;
use infusion::concept::{Concept, Precision};
use infusion::noise::TorchGenerator;
use infusion::pipeline::UnetGraphs;
use infusion::runtime::{Session, SessionOptions, Tensor};
use ndarray::{ArrayD, Axis, IxDyn};
use patched::{Graphs, Named, difference};

/// A dialect in a folder of its own, and what it is fed.
struct Case {
    dialect: Dialect,
    folder: tempfile::TempDir,
    feeds: Named,
    context: String,
    timestep: f32,
}

impl Case {
    fn new(name: &str) -> Self {
        let dialect = dialects::named(name);
        let folder = tempfile::tempdir().unwrap();
        let source = dialect.model();
        for entry in std::fs::read_dir(source.parent().unwrap()).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
        }
        let graphs = Graphs::of(&dialect);
        let mut feeds = graphs.source_feeds();
        let context = graphs.survey.context_input.clone();
        let timestep = feeds.remove("timestep").unwrap().iter().next().copied().unwrap();
        // Residuals of 0.1 times the row tell whether rows keep theirs.
        for (_, tensor) in feeds.iter_mut().filter(|(name, _)| *name != "sample" && **name != context) {
            for (row, mut values) in tensor.axis_iter_mut(Axis(0)).enumerate() {
                values.fill(0.1 * (row + 1) as f32);
            }
        }
        Self { dialect, folder, feeds, context, timestep }
    }

    fn model(&self) -> std::path::PathBuf {
        self.folder.path().join("model.onnx")
    }

    fn rows(&self) -> usize {
        self.feeds["sample"].shape()[0]
    }

    /// What a host's own session makes of the same.
    fn original(&self) -> ArrayD<f32> {
        let session = Session::open(self.model(), &SessionOptions::default()).unwrap();
        let tensor = |name: &str| {
            let spec = session.input(name).unwrap();
            let values = match self.feeds.get(name) {
                Some(values) => values.clone(),
                None => {
                    let dims: Vec<usize> =
                        (0..spec.rank()).map(|axis| spec.fixed(axis).unwrap_or(self.rows())).collect();
                    ArrayD::from_elem(IxDyn(&dims), self.timestep)
                }
            };
            Tensor::F32(values).cast(spec.element_type)
        };
        let typed: Vec<(String, Tensor)> =
            session.inputs().iter().map(|spec| (spec.name.clone(), tensor(&spec.name))).collect();
        let feeds: Vec<(&str, &Tensor)> = typed.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        session.run(&feeds).unwrap().take_first().unwrap().into_f32()
    }

    /// F's noise and C's with F on the sample and C on twice that, and C's with F on C's latents.
    fn step(&self, unet: &Unet, marked: bool) -> [ArrayD<f32>; 3] {
        let rows: Vec<OwnedRow> = (0..self.rows())
            .map(|row| match row + 1 == self.rows() {
                true if marked => OwnedRow::new(CONDITIONAL, 0).marked("thing", &[3], 1.0),
                true => OwnedRow::new(CONDITIONAL, 0),
                false => OwnedRow::new(UNCONDITIONAL, 0),
            })
            .collect();
        let rows: Vec<capi::Row> = rows.iter().map(OwnedRow::row).collect();
        let mut further: Vec<(CString, Host<f32>)> = Vec::new();
        for (name, values) in self.feeds.iter().filter(|(name, _)| *name != "sample" && **name != self.context) {
            further.push((CString::new(name.as_str()).unwrap(), Host::of(values)));
        }
        let tensors: Vec<capi::Tensor> = further.iter().map(|(_, values)| values.tensor()).collect();
        let struct_size = size_of::<capi::Input>() as u32;
        let inputs: Vec<capi::Input> = further
            .iter()
            .zip(&tensors)
            .map(|((name, _), tensor)| capi::Input { struct_size, name: name.as_ptr(), tensor })
            .collect();
        let step = capi::Step { inputs: inputs.as_ptr(), inputs_count: inputs.len(), ..capi::step(0, &rows) };
        let (sample, context) = (Host::of(&self.feeds["sample"]), Host::of(&self.feeds[&self.context]));
        let twice = Host::of(&(&self.feeds["sample"] * 2.0));
        let timestep = Host::new(vec![self.timestep], &[1]);
        let zeros = || Host::of(&ArrayD::<f32>::zeros(self.feeds["sample"].raw_dim()));
        let [mut foundation, mut customised, mut shared] = [zeros(), zeros(), zeros()];
        let (mut foundation_out, mut out) = (foundation.tensor_mut(), customised.tensor_mut());
        // SAFETY: everything that the structs point to lives during the call.
        let status = unsafe {
            capi::infusion_unet_run2(
                unet.0,
                &step,
                &sample.tensor(),
                &twice.tensor(),
                &timestep.tensor(),
                &context.tensor(),
                &mut foundation_out,
                &mut out,
            )
        };
        capi::checked(status).unwrap();
        let mut out = shared.tensor_mut();
        unet.run(&step, &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut out).unwrap();
        [foundation, customised, shared]
            .map(|it| ArrayD::from_shape_vec(self.feeds["sample"].raw_dim(), it.values().to_vec()).unwrap())
    }
}

fn set(unet: &Unet, concept: &[u8]) {
    let mut handle = 0;
    // SAFETY: bytes, text and output live during the calls; any handle may be freed.
    unsafe {
        let loaded =
            capi::infusion_concept_load_memory(concept.as_ptr().cast(), concept.len(), c"thing".as_ptr(), &mut handle);
        capi::checked(loaded).unwrap();
        let set = capi::infusion_unet_set_concept(unet.0, c"thing".as_ptr(), handle, 1.0, std::ptr::null(), 1);
        capi::checked(set).unwrap();
        capi::infusion_concept_free(handle);
    }
}

/// A concept of random numbers for the UNet at `model`.
fn concept(model: &Path) -> Vec<u8> {
    let graphs = UnetGraphs::open(model, None, false).unwrap();
    let mut generator = TorchGenerator::new(5);
    let mut concept = Concept::new("thing", "thing");
    for layer in &graphs.layers {
        concept.layers.insert(layer.module_path.clone(), generator.randn((1, layer.width)) * 0.5);
    }
    concept.encode(Precision::F32).unwrap().bytes
}

fn check(name: &str) {
    let case = Case::new(name);
    let concept = concept(&case.model());
    let tolerance = case.dialect.tolerance;
    let original = case.original();
    let close = |what: &str, found: &ArrayD<f32>, expected: &ArrayD<f32>| {
        let apart = difference(found, expected.view());
        assert!(apart <= tolerance, "{name}: {what}: {apart}");
    };
    let ways = if case.dialect.dynamic_batch() { vec![TWO_GRAPHS, ONE_GRAPH] } else { vec![TWO_GRAPHS] };
    let mut first: Option<[ArrayD<f32>; 3]> = None;
    for graphs in ways {
        let unet = Unet::open(&case.model(), &capi::UnetOptions { graphs, threads: 1, ..unet_options() });
        set(&unet, &concept);
        let [_, _, plain] = case.step(&unet, false);
        assert_eq!(plain, original, "{name}: without a concept it is the original, bit for bit");
        let drawn = case.step(&unet, true);
        close("F", &drawn[0], &original);
        assert!(difference(&drawn[2], original.view()) > 1e-3, "{name}: the concept is drawn");
        let others = 0..case.rows() - 1;
        close(
            "rows without a concept",
            &drawn[2].slice_axis(Axis(0), others.clone().into()).to_owned(),
            &original.slice_axis(Axis(0), others.into()).to_owned(),
        );
        if let Some(first) = &first {
            for (what, (found, expected)) in ["F", "C apart", "C together"].iter().zip(drawn.iter().zip(first)) {
                close(what, found, expected);
            }
        }
        first = Some(drawn);
    }
}

macro_rules! dialects {
    ($($test:ident: $name:literal)*) => { $(#[test] fn $test() { check($name); })* };
}

dialects! {
    residuals_of_a_controlnet: "controlnet-17"
    the_guidance_embedding_of_lcm: "lcm-17"
    half_precision: "fp16-sdpa-17"
    a_fixed_batch: "sdpa-17-static"
    a_timestep_for_each_row: "sdpa-14"
    one_float_timestep: "baddbmm-18"
    dynamo: "dynamo-18"
}

#[test]
fn an_input_that_is_not_fed_is_named() {
    let case = Case::new("lcm-17");
    let unet = Unet::open(&case.model(), &unet_options());
    let (sample, context) = (Host::of(&case.feeds["sample"]), Host::of(&case.feeds[&case.context]));
    let timestep = Host::new(vec![case.timestep], &[1]);
    let mut out = Host::of(&ArrayD::<f32>::zeros(case.feeds["sample"].raw_dim()));
    let mut written = out.tensor_mut();
    let error = unet.run(&capi::step(0, &[]), &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written);
    let (code, text) = error.unwrap_err();
    assert!(code == 1 && text.contains("timestep_cond"), "{code} {text}");
}
