//! `infusion concept`, driven as a user would.

#[path = "support/tiny.rs"]
mod tiny;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use infusion::concept::{Concept, Existing, Precision};
use infusion::pipeline::{Pipeline, PipelineOptions};
use infusion::runtime::{Session, SessionOptions, Tensor};
use ndarray::{Array1, Array2, Array3, Array4};

/// Cross-attention layers of Stable Diffusion 1.5: block, attentions, width.
const SD15: [(&str, usize, usize); 7] = [
    ("down_blocks.0", 2, 320),
    ("down_blocks.1", 2, 640),
    ("down_blocks.2", 2, 1280),
    ("mid_block", 1, 1280),
    ("up_blocks.1", 3, 1280),
    ("up_blocks.2", 3, 640),
    ("up_blocks.3", 3, 320),
];

fn concept(folder: &Path, name: &str, tokens: usize) -> PathBuf {
    let mut concept = Concept::new(name, "ball");
    concept.base_model_hash = Some(format!("sha256:{}", "0f".repeat(32)));
    for (block, attentions, width) in SD15 {
        for i in 0..attentions {
            let path = format!("{block}.attentions.{i}.transformer_blocks.0");
            let wave = |(token, column): (usize, usize)| ((column * 37 + token * 11 + i) as f32).sin() * 0.05;
            concept.layers.insert(path, Array2::from_shape_fn((tokens, width), wave));
        }
    }
    let path = folder.join(format!("{name}.safetensors"));
    concept.save(&path, Precision::F32, Existing::Keep).expect("saves");
    path
}

struct Ran {
    out: String,
    err: String,
    ok: bool,
}

fn infusion(arguments: &[&str], files: &[&Path]) -> Ran {
    let mut command = Command::cargo_bin("infusion").expect("the program is built");
    let output = command.args(["concept"]).args(arguments).args(files).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { out: text(&output.stdout), err: text(&output.stderr), ok: output.status.success() }
}

#[test]
fn show_prints_words_sizes_and_layers() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = concept(folder.path(), "striped", 1);
    let shown = infusion(&["show"], &[&file]);
    assert!(shown.ok, "{}", shown.err);
    for part in ["striped", "12480 in 16 layers", "f32", "mid_block.attentions.0"] {
        assert!(shown.out.contains(part), "{} lacks {part}", shown.out);
    }
    let json: serde_json::Value = serde_json::from_str(&infusion(&["show", "--json"], &[&file]).out).expect("JSON");
    assert_eq!((&json["parameters"], &json["class"]), (&12480.into(), &"ball".into()));
    assert_eq!(json["layers"].as_array().map(Vec::len), Some(16));
}

#[test]
fn convert_prints_size_and_error_and_replaces_only_when_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = concept(folder.path(), "striped", 1);
    let small = folder.path().join("small.safetensors");
    let to = ["convert", "--precision", "i4", "--output", small.to_str().expect("Unicode")];
    let converted = infusion(&to, &[&file]);
    assert!(converted.ok && converted.out.contains("relative error"), "{}{}", converted.out, converted.err);
    let bytes = std::fs::metadata(&small).expect("written").len();
    assert!(bytes <= 11_000 && converted.out.contains(&format!("{bytes} bytes, i4")), "{}", converted.out);

    let refused = infusion(&to, &[&file]);
    assert!(!refused.ok && refused.err.contains("small.safetensors") && refused.err.contains("exists"));
    assert!(infusion(&[&to[..], &["--overwrite"]].concat(), &[&file]).ok);
}

#[test]
fn merge_weighs_and_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (concept(folder.path(), "striped", 1), concept(folder.path(), "dotted", 2));
    let both = folder.path().join("both.safetensors");
    let out = both.to_str().expect("Unicode");
    let half = PathBuf::from(format!("{}:0.5", one.display()));
    let merged = infusion(&["merge", "-p", "f32", "-o", out], &[&half, &two]);
    assert!(merged.ok, "{}", merged.err);
    let (one, two, both) = (Concept::load(one), Concept::load(two), Concept::load(both));
    let (one, two, both) = (one.expect("loads"), two.expect("loads"), both.expect("loads"));
    assert_eq!((both.word.as_str(), both.tokens()), ("striped+dotted", 2));
    let layer = |concept: &Concept| concept.layers["mid_block.attentions.0.transformer_blocks.0"].clone();
    let expected = layer(&one)[(0, 3)] * 0.5 + layer(&two)[(1, 3)];
    assert!((layer(&both)[(1, 3)] - expected).abs() < 1e-6);
}

#[test]
fn export_writes_a_flatbuffer_with_the_numbers_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = concept(folder.path(), "striped", 1);
    let adapter = folder.path().join("a.onnx_adapter");
    let out = adapter.to_str().expect("Unicode");
    let exported = infusion(&["export", "-o", out, "--tokens", "5,6", "--length", "16"], &[&file]);
    assert!(exported.ok && exported.out.contains("[1, 12480]"), "{}{}", exported.out, exported.err);
    let bytes = std::fs::read(&adapter).expect("written");
    assert_eq!(&bytes[4..8], b"TORT");
    let concept = Concept::load(file).expect("loads");
    let matrix = concept.matrix(&concept.layer_specs()).expect("fits");
    let numbers: Vec<u8> = matrix.iter().flat_map(|value| value.to_le_bytes()).collect();
    let at = bytes.windows(numbers.len()).position(|window| window == numbers).expect("Δ is in the file");
    assert_eq!(at % 8, 0, "raw_data is to be aligned to 8 bytes");
    assert!(bytes.windows(13).any(|window| window == b"infusion.mask"));

    let refused = infusion(&["export", "-o", out, "--overwrite", "--tokens", "80"], &[&concept.path.expect("loaded")]);
    assert!(!refused.ok && refused.err.contains("--tokens 80"), "{}", refused.err);
}

/// V(τ + δ) = V(τ) + Δ: what `f` gives for a context with δ added is what it gives without, and the import's Δ.
#[test]
fn import_folds_through_the_value_projections_exactly() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let path = |name: &str| folder.join(name).display().to_string();
    let (context, width) = ((0..77).map(|row| (row as f32).sin()).collect::<Vec<f32>>(), 32);
    let context = Array3::from_shape_fn((1, 77, width), |(_, row, column)| context[row] * (column as f32 * 0.7).cos());
    let delta = Array2::from_shape_fn((1, width), |(_, column)| 0.3 * (column as f32).cos());
    let bytes: Vec<u8> = delta.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, width], &bytes).expect("fits");
    safetensors::serialize_to_file([("delta", view)], None, &folder.join("wide.safetensors")).expect("writes");

    let (model, out) = (path("."), path("folded.safetensors"));
    let arguments = ["import", "--model", &model, "--name", "striped", "--class", "ball", "-p", "f32", "-o", &out];
    let imported = infusion(&arguments, &[&folder.join("wide.safetensors")]);
    assert!(imported.ok, "{}", imported.err);
    let folded = Concept::load(&out).expect("loads");
    assert_eq!((folded.word.as_str(), folded.class.as_str()), ("striped", "ball"));

    let graphs = Pipeline::open(folder, &PipelineOptions::default()).expect("opens").graphs().clone();
    assert_eq!(folded.base_model_hash, graphs.base_model_hash);
    let session = Session::open(folder.join("unet/model.f.onnx"), &SessionOptions::default()).expect("opens");
    let values = |context: Array3<f32>| {
        let feeds = [
            ("sample", Tensor::from(Array4::<f32>::zeros((1, 4, 8, 8)))),
            ("timestep", Tensor::from(Array1::from_elem(1, 5_i64))),
            ("encoder_hidden_states", Tensor::from(context)),
        ];
        let feeds: Vec<(&str, &Tensor)> = feeds.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let mut outputs = session.run(&feeds).expect("runs");
        let take = |layer| outputs.take(&format!("infusion.{layer}.value")).expect("there").into_f32();
        (0..graphs.layers.len()).map(take).collect::<Vec<_>>()
    };
    let (before, after) = (values(context.clone()), values(&context + &delta));
    for (layer, (before, after)) in graphs.layers.iter().zip(before.iter().zip(&after)) {
        let added = folded.layer(&layer.module_path).expect("every layer");
        let off = (after - before - added).iter().fold(0f32, |most, value| most.max(value.abs()));
        assert!(off < 1e-5, "{}: {off}", layer.module_path);
    }

    let shown = infusion(&["show", "--model", &model], &[Path::new(&out)]);
    assert!(shown.ok && shown.out.contains("unet/model.onnx: fits"), "{}{}", shown.out, shown.err);
    let other = concept(folder, "other", 1);
    let shown = infusion(&["show", "--json", "--model", &model], &[&other]);
    assert!(shown.out.contains(r#""fits":false"#), "{}", shown.out);
    let narrow = infusion(&["import", "-m", &model, "--class", "ball", "-o", &path("no.safetensors")], &[&other]);
    assert!(!narrow.ok && narrow.err.contains("other.safetensors"), "{}", narrow.err);
}

#[test]
fn an_adapter_names_type_batch_and_strength() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = concept(folder.path(), "striped", 1);
    let out = folder.path().join("a.onnx_adapter").display().to_string();
    let more = ["--float", "f16", "--tokens", "5", "--batch", "1", "--strength", "0.5", "--length", "77"];
    let sizes = [&["export", "--output", &out, "--overwrite"][..], &more].concat();
    assert!(infusion(&sizes, &[&file]).ok);
    let half = std::fs::metadata(&out).expect("written").len();
    assert!(infusion(&["export", "--output", &out, "--overwrite", "--float", "f32"], &[&file]).ok);
    assert!(std::fs::metadata(&out).expect("written").len() > half + 12_480, "f16 takes half");
    let merged = folder.path().join("m.safetensors").display().to_string();
    let named = ["merge", "--name", "both", "--class", "cup", "-o", &merged];
    assert!(infusion(&named, &[&file, &file]).ok);
    let merged = Concept::load(merged).expect("loads");
    assert_eq!((merged.word.as_str(), merged.class.as_str()), ("both", "cup"));
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("broken.safetensors");
    std::fs::write(&file, b"no concept").expect("writes");
    let shown = infusion(&["show"], &[&file]);
    assert!(!shown.ok && shown.err.contains("broken.safetensors"), "{}", shown.err);
    let missing = infusion(&["show"], &[&folder.path().join("missing.safetensors")]);
    assert!(!missing.ok && missing.err.contains("missing.safetensors"), "{}", missing.err);
}
