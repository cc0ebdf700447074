//! `infusion-patch` from the outside: what it writes, what it refuses, and what it leaves alone.

#[path = "support/dialects.rs"]
mod dialects;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use dialects::{Dialect, Expect};
use infusion::onnx::Model;
use serde_json::Value;

fn program() -> Command {
    Command::cargo_bin("infusion-patch").unwrap()
}

/// A folder with a copy of the dialect's files.
fn copied(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let source = dialects::named(name).model();
    for entry in fs::read_dir(source.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let model = folder.path().join("model.onnx");
    (folder, model)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    names(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

fn error_of(assert: Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

fn json_of(assert: Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

fn patched_into(dialect: &Dialect, folder: &Path) -> Value {
    json_of(program().arg(dialect.model()).arg("-o").arg(folder).arg("--json").assert().success())
}

#[test]
fn every_dialect_is_patched_and_its_manifest_names_every_layer() {
    let mut hashes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for dialect in dialects::patchable() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = patched_into(&dialect, folder.path());
        let layers = manifest["layers"].as_array().unwrap();
        let modules: Vec<&str> = layers.iter().map(|layer| layer["module_path"].as_str().unwrap()).collect();
        assert_eq!(modules, dialect.modules, "{}", dialect.name);
        let widths: Vec<u64> = layers.iter().map(|layer| layer["width"].as_u64().unwrap()).collect();
        assert_eq!(widths, dialect.value_widths.iter().map(|&d| d as u64).collect::<Vec<_>>(), "{}", dialect.name);
        for file in manifest["graphs"].as_object().unwrap().values() {
            Model::open(folder.path().join(file.as_str().unwrap())).unwrap();
        }
        if let Some(hash) = manifest["base_model_hash"].as_str() {
            let reference = dialect.reference().file_name().unwrap().to_string_lossy().into_owned();
            hashes.entry(format!("{reference} {hash}")).or_default().push(dialect.name.clone());
        }
    }
    let references: Vec<&str> = hashes.keys().filter_map(|key| key.split(' ').next()).collect();
    let mut distinct = references.clone();
    distinct.dedup();
    assert_eq!(references, distinct, "exports of one model differ in their hash: {hashes:#?}");
}

#[test]
fn what_is_no_such_unet_is_refused_and_nothing_is_written() {
    for dialect in dialects::all().into_iter().filter(|dialect| dialect.expect == Expect::Refuse) {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let error = error_of(program().arg(dialect.model()).arg("-o").arg(&out).assert().code(1));
        assert!(error.starts_with("error: ") && error.contains("model.onnx"), "{}: {error}", dialect.name);
        assert!(!out.exists(), "{}", dialect.name);
    }
}

#[test]
fn a_patched_model_is_not_patched_again() {
    let (folder, model) = copied("sdpa-17");
    program().arg(&model).assert().success();
    for kind in ["f", "c", "shared", "dual"] {
        let patched = folder.path().join(format!("model.{kind}.onnx"));
        let error = error_of(program().arg(patched).assert().code(1));
        assert!(error.contains("patched already"), "{kind}: {error}");
    }
}

#[test]
fn beside_the_source_weights_stay_and_a_second_run_replaces_its_own_files_only() {
    let (folder, model) = copied("external-one-17");
    let before = contents(folder.path());
    program().arg(&model).args(["--emit", "f,c"]).assert().success();
    let wanted = ["model.c.onnx", "model.f.onnx", "model.infusion.json", "model.onnx", "model.onnx_data"];
    assert_eq!(names(folder.path()), wanted);
    program().arg(&model).args(["--emit", "f,c", "--quiet"]).assert().success().stdout("");
    for (name, bytes) in &before {
        assert_eq!(&fs::read(folder.path().join(name)).unwrap(), bytes, "{name}");
    }

    fs::write(folder.path().join("model.shared.onnx"), "mine").unwrap();
    let before = contents(folder.path());
    let error = error_of(program().arg(&model).assert().code(1));
    assert!(error.contains("model.shared.onnx") && error.contains("--force"), "{error}");
    assert_eq!(contents(folder.path()), before);
    program().arg(&model).arg("--force").assert().success();
    assert_ne!(fs::read(folder.path().join("model.shared.onnx")).unwrap(), b"mine");
}

#[test]
fn elsewhere_weights_come_along_once_and_self_contained_graphs_need_none() {
    for (name, weights) in
        [("external-one-17", "model.onnx_data"), ("sdpa-17", "model.onnx"), ("sdpa-17-static", "model.onnx")]
    {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let source = dialects::named(name).model();
        program().arg(&source).arg("-o").arg(&out).args(["--emit", "f,c"]).assert().success();
        assert_eq!(names(&out), ["model.c.onnx", "model.f.onnx", "model.infusion.json", weights], "{name}");

        let alone = folder.path().join("alone");
        program().arg(&source).arg("-o").arg(&alone).args(["--emit", "f,c", "--self-contained"]).assert().success();
        assert_eq!(names(&alone), ["model.c.onnx", "model.f.onnx", "model.infusion.json"], "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_hugging_face_cache_works_in_onnx_runtime() {
    use infusion::runtime::{Session, SessionOptions};
    let (blobs, _) = copied("external-one-17");
    let snapshot = blobs.path().join("snapshots/1/unet");
    fs::create_dir_all(&snapshot).unwrap();
    for name in ["model.onnx", "model.onnx_data"] {
        std::os::unix::fs::symlink(Path::new("../../..").join(name), snapshot.join(name)).unwrap();
    }
    program().arg(snapshot.join("model.onnx")).args(["--emit", "f"]).assert().success();
    Session::open(snapshot.join("model.f.onnx"), &SessionOptions::default()).unwrap();
}

#[test]
fn damaged_files_end_in_one_error_and_no_files() {
    let (folder, model) = copied("external-one-17");
    let graph = fs::read(&model).unwrap();
    let data = folder.path().join("model.onnx_data");
    let weights = fs::read(&data).unwrap();
    let refused = |what: &str| {
        let before = names(folder.path());
        let error = error_of(program().arg(&model).assert().code(1));
        assert!(error.starts_with("error: ") && !error.contains("panicked"), "{error}");
        assert!(error.contains("model.onnx") && error.contains(what), "{error} lacks {what}");
        assert_eq!(names(folder.path()), before);
    };
    fs::write(&data, &weights[..weights.len() / 2]).unwrap();
    refused("passes the end of");
    fs::remove_file(&data).unwrap();
    refused("model.onnx_data");
    fs::write(&data, &weights).unwrap();
    for cut in [0, 1, 100, graph.len() / 2, graph.len() - 1] {
        fs::write(&model, &graph[..cut]).unwrap();
        refused("");
    }
    fs::write(&model, "This is no model.").unwrap();
    refused("not an ONNX model");
    fs::remove_file(&model).unwrap();
    refused("No such file");
}

#[test]
fn inspect_lists_layers_as_text_and_json() {
    let dialect = dialects::named("sdpa-17");
    let report = json_of(program().arg("inspect").arg(dialect.model()).arg("--json").assert().success());
    assert_eq!(report["cross_attention"].as_array().unwrap().len(), dialect.layers);
    assert_eq!(report["context"], "encoder_hidden_states");
    let text = program().arg("inspect").arg(dialect.model()).assert().success();
    let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
    assert!(dialect.modules.iter().all(|module| text.contains(module)), "{text}");
}

#[test]
fn recipes_of_a_folder_are_tried_first_and_bad_ones_are_named() {
    let model = dialects::named("four-17").model();
    let folder = tempfile::tempdir().unwrap();
    let inspect = || {
        let mut command = program();
        command.arg("inspect").arg(&model).arg("--json").arg("--graph-patches").arg(folder.path());
        command.assert()
    };
    let recipe = include_str!("../graph-patches/sdpa.json");
    fs::write(folder.path().join("house.json"), recipe.replace(r#""name": "sdpa""#, r#""name": "house""#)).unwrap();
    let report = json_of(inspect().success());
    let layers = report["cross_attention"].as_array().unwrap();
    assert!(layers.len() == 4 && layers.iter().all(|layer| layer["dialect"] == "house"), "{report}");

    fs::write(folder.path().join("broken.json"), r#"{ "name": "broken" }"#).unwrap();
    let error = error_of(inspect().code(1));
    assert!(error.contains("broken.json") && error.contains("missing field"), "{error}");
}

#[test]
fn wrong_options_are_named() {
    let model = dialects::named("sdpa-17").model();
    let error = error_of(program().arg(&model).args(["--emit", "f,g"]).assert().failure());
    assert!(error.contains("'g'") && error.contains("shared"), "{error}");
    let error = error_of(program().arg(&model).args(["--context", "nothing"]).assert().code(1));
    assert!(error.contains("'nothing'"), "{error}");
    program().assert().failure();
}

/// Killed at any moment, a run leaves all old files or all new ones, and the next run cleans up.
#[cfg(unix)]
#[test]
fn a_killed_run_leaves_no_half_files() {
    let (folder, model) = copied("four-17");
    program().arg(&model).assert().success();
    let whole = contents(folder.path());
    for delay in [0, 20, 80, 200, 400, 800] {
        let binary = assert_cmd::cargo::cargo_bin("infusion-patch");
        let mut run = std::process::Command::new(binary).arg(&model).arg("--quiet").spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        let _ = run.kill();
        run.wait().unwrap();
        for (name, bytes) in &whole {
            assert_eq!(&fs::read(folder.path().join(name)).unwrap(), bytes, "{name} after {delay} ms");
        }
    }
    program().arg(&model).assert().success();
    assert_eq!(names(folder.path()), whole.keys().cloned().collect::<Vec<_>>());
}

#[test]
fn the_check_runs_every_graph_against_its_source() {
    let (_folder, controlled) = copied("controlnet-17");
    program().arg(&controlled).args(["--check", "--emit", "dual"]).assert().success();
    let (_folder, model) = copied("four-17");
    let text = program().arg(&model).args(["--check", "--quiet"]).assert().success();
    let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
    assert!(text.contains("f: 0.0e0 from the source, bit for bit"), "{text}");
    for graph in ["c of", "dual", "shared"] {
        assert!(text.contains(graph), "{text} lacks {graph}");
    }
    let customised = |line: &&str| line.contains("from f and c, with the concept");
    assert_eq!(text.lines().filter(customised).count(), 2, "{text}");
    let moved = text.lines().find_map(|line| line.strip_prefix("a concept of random numbers moves c by ")).unwrap();
    assert!(moved.parse::<f32>().unwrap() > 1e-3, "{text}");
    program().arg("check").arg(&model).assert().success();
    fs::remove_file(model.with_file_name("model.infusion.json")).unwrap();
    let error = error_of(program().arg("check").arg(&model).assert().code(1));
    assert!(error.contains("patch the model first"), "{error}");
}

/// With int8 activations (`qdq-int8`), ONNX Runtime fuses elsewhere once maps are shown, and rounds elsewhere.
#[test]
fn eight_bit_models_pass_the_check() {
    for (name, exact) in [("dynamic-int8", true), ("qdq-int8", false)] {
        let (_folder, model) = copied(name);
        let text = program().arg(&model).args(["--check", "--quiet"]).assert().success();
        let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
        for graph in ["f", "dual, the foundation's rows", "shared, the foundation"] {
            let same = text.contains(&format!("{graph}: 0.0e0 from the source, bit for bit"));
            assert!(same || !exact, "{name} {graph}: {text}");
        }
    }
}

#[test]
fn fused_graphs_compute_the_same() {
    let (_folder, model) = copied("four-17");
    let said = program().arg(&model).args(["--fuse", "--check"]).assert().success();
    let said = String::from_utf8_lossy(&said.get_output().stdout).into_owned();
    assert!(said.contains("fused 8 of 8 attentions"), "{said}");
    let fused = Model::open(model.with_file_name("model.shared.onnx")).unwrap();
    assert!(fused.graph.nodes().any(|(_, node)| node.op_type() == "MultiHeadAttention"));
}

#[test]
fn a_concept_is_baked_into_a_graph_with_the_sources_inputs_and_outputs() {
    use infusion::concept::{Concept, Existing, Precision};
    let dialect = dialects::named("four-17");
    let (folder, model) = copied("four-17");
    let layers = dialect.modules.iter().zip(&dialect.value_widths);
    let mut concept = Concept::new("ball", "ball");
    concept.layers = layers.map(|(module, &d)| (module.clone(), ndarray::Array2::from_elem((1, d), 0.5))).collect();
    let file = folder.path().join("ball.safetensors");
    concept.save(&file, Precision::F32, Existing::Keep).unwrap();
    let bake = |rows: &str| {
        let mut command = program();
        command.arg(&model).arg("--bake").arg(&file).args(["--token-rows", rows]);
        command.assert()
    };
    bake("5").success();
    let baked = Model::open(folder.path().join("model.shared.ball.onnx")).unwrap();
    assert_eq!(baked.graph.outputs(), Model::open(&model).unwrap().graph.outputs(), "nothing that a host could take");
    let delta = &baked.graph.initializers()["infusion.delta"];
    assert!(baked.tensor_f32s(delta).unwrap().iter().all(|&x| x == 0.5));
    let mask = baked.tensor_f32s(&baked.graph.initializers()["infusion.mask"]).unwrap();
    assert!(mask.iter().enumerate().all(|(row, &x)| x == if row == 5 { 1.0 } else { 0.0 }));
    assert!(error_of(bake("5").code(1)).contains("exists"));
    let mut command = program();
    command.arg(&model).arg("--bake").arg(&file).args(["--token-rows", "5,7", "--strength", "0.5", "--rows", "0,1"]);
    command.args(["--output"]).arg(folder.path().join("elsewhere")).assert().success();
    let baked = Model::open(folder.path().join("elsewhere/model.shared.ball.onnx")).unwrap();
    let mask = baked.tensor_f32s(&baked.graph.initializers()["infusion.mask"]).unwrap();
    assert!(mask.iter().enumerate().all(|(row, &x)| x == if [5, 7].contains(&row) { 0.5 } else { 0.0 }));
    assert_eq!(baked.tensor_ints(&baked.graph.initializers()["infusion.rows"]).unwrap(), [0, 1]);
    assert!(error_of(bake("77").code(1)).contains("row 77"));

    concept.base_model_hash = Some(format!("sha256:{}", "0".repeat(64)));
    concept.save(&file, Precision::F32, Existing::Replace).unwrap();
    assert!(error_of(bake("5").code(1)).contains("another model"));
}

#[test]
fn less_memory_makes_a_longer_train_graph() {
    let nodes = |memory: &str| {
        let (_folder, model) = copied("four-17");
        program().arg(&model).args(["--emit", "train", "--memory", memory, "-q"]).assert().success();
        Model::open(model.with_file_name("model.train.onnx")).unwrap().graph.node_count()
    };
    assert!(nodes("low") > nodes("fast"));
}

/// Every option has a line of help, and some test passes it.
#[test]
fn every_option_is_explained_and_driven() {
    for command in [&[][..], &["inspect"], &["check"]] {
        let output = program().args(command).arg("--help").assert().success();
        let help = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        let words = help.split(|c: char| !(c.is_alphanumeric() || c == '-'));
        for option in words.filter(|word| word.starts_with("--") && word.len() > 2 && *word != "--help") {
            let driven = include_str!("patch_program.rs").contains(&format!("\"{option}\""));
            assert!(driven || option == "--version", "{command:?}: {option} is driven by no test");
        }
        let options = help.split_once("\nOptions:\n").map_or("", |(_, options)| options);
        for block in options.split("\n\n").filter(|block| block.trim_start().starts_with('-')) {
            assert!(block.lines().count() > 1, "{command:?}: no help for {block}");
        }
    }
}
