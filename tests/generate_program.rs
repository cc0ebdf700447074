//! `infusion generate` and `infusion inspect` as a user runs them, on the tiny pipeline.

#[path = "support/tiny.rs"]
mod tiny;

use std::path::Path;

use assert_cmd::Command;
use infusion::concept::{Concept, Existing, Precision};
use infusion::picture::PictureText;
use infusion::pipeline::{Pipeline, PipelineOptions};
use serde_json::Value;

fn infusion(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("infusion").unwrap();
    command.current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache")).env_remove("INFUSION_MODEL");
    command
}

fn concept() -> String {
    format!("ball={}", tiny::source().join("striped.safetensors").display())
}

/// The arguments of a short run.
fn short() -> Vec<String> {
    ["generate", tiny::PROMPT, "--model", ".", "--steps", "2", "--width", "64", "--height", "64", "--seed", "7"]
        .map(str::to_owned)
        .into_iter()
        .chain(["--force".to_owned(), "--concept".to_owned(), concept()])
        .collect()
}

fn pixels(path: &Path) -> image::RgbImage {
    image::open(path).unwrap().to_rgb8()
}

/// The same picture to the rounding of graphs that compute it in another order.
fn alike(a: &Path, b: &Path) -> bool {
    let (a, b) = (pixels(a), pixels(b));
    a.dimensions() == b.dimensions() && a.iter().zip(b.iter()).all(|(a, b)| a.abs_diff(*b) <= 1)
}

fn failure(folder: &Path, arguments: &[&str]) -> String {
    let output = infusion(folder).args(arguments).assert().failure();
    String::from_utf8(output.get_output().stderr.clone()).unwrap()
}

#[test]
fn one_run_writes_everything_and_its_picture_repeats_it() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let more = [
        "-o",
        "a.png",
        "--foundation",
        "f.png",
        "--sheet",
        "sheet.png",
        "--attention-maps",
        "--preview-every",
        "1",
        "--json",
        "--layer-scale",
        "0:0.5",
        "--start",
        "0.5",
        "--end",
        "1",
        "--negative-prompt",
        "two balls",
        "--guidance-scale",
        "3",
    ];
    let output = infusion(folder).args(short()).args(more).assert().success();
    let report: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(report["steps"], 2);
    assert_eq!(report["files"][0]["seed"], 7);
    for file in ["a.png", "f.png", "sheet.png", "a-attention-ball.png", "a-preview.png"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    assert_ne!(pixels(&folder.join("a.png")), pixels(&folder.join("f.png")));

    infusion(folder).args(["generate", "--from", "a.png", "-o", "b.png", "--force", "--quiet"]).assert().success();
    assert!(alike(&folder.join("a.png"), &folder.join("b.png")), "the same settings, the same picture");
    infusion(folder).args(["generate", "--from", "f.png", "-o", "g.png", "--force", "--quiet"]).assert().success();
    assert!(alike(&folder.join("f.png"), &folder.join("g.png")));

    let shown = infusion(folder).args(["inspect", "a.png"]).assert().success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert!(shown.contains("Sampler: DDIM") && shown.contains("Negative prompt: two balls"), "{shown}");
}

#[test]
fn batches_and_variations_are_named_by_seed_and_number() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let more =
        ["--batch", "2", "--variations", "1,-0.5", "-o", "a.png", "--streams", "shared", "--quiet", "--no-cache"];
    infusion(folder).args(short()).args(more).assert().success();
    for file in ["a-7-v1.png", "a-8-v1.png", "a-7-v2.png", "a-8-v2.png"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let one = ["-o", "one.png", "--streams", "shared", "--quiet", "--low-memory", "--threads", "1", "--no-cache"];
    infusion(folder).args(short()).args(one).assert().success();
    let (a, b) = (pixels(&folder.join("a-7-v1.png")), pixels(&folder.join("one.png")));
    assert!(a.iter().zip(b.iter()).all(|(a, b)| a.abs_diff(*b) <= 1), "a picture of a batch is the one made alone");
}

#[test]
fn a_folder_of_concepts_a_noise_file_and_img2img() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let noise = tiny::source().join("goldens.safetensors");
    let arguments = [
        "generate",
        "a <striped:0.9> in (snow:1.2)",
        "-m",
        ".",
        "--steps",
        "2",
        "--width",
        "64",
        "--height",
        "64",
        "--force",
        "--concepts",
        ".",
        "--noise",
        noise.to_str().unwrap(),
        "--init-image",
        "init.png",
        "--strength",
        "0.5",
        "--scheduler",
        "euler_a",
        "-o",
        "a.png",
    ];
    infusion(folder).args(arguments).assert().success();
    assert_eq!(pixels(&folder.join("a.png")).dimensions(), (64, 64));
}

#[test]
fn what_is_wrong_is_said_before_the_work() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    std::fs::write(folder.join("old.png"), b"mine").unwrap();
    let concept = concept();
    assert!(failure(folder, &["generate", "a", "-m", ".", "-o", "old.png"]).contains("exists already"));
    assert_eq!(std::fs::read(folder.join("old.png")).unwrap(), b"mine");
    assert!(failure(folder, &["generate", "a", "-m", ".", "-o", "no/a.png"]).contains("does not exist"));
    assert!(failure(folder, &["generate", "a"]).contains("--model"));
    assert!(failure(folder, &["generate", "a", "-m", "nowhere"]).contains("nowhere"));
    assert!(failure(folder, &["generate", "a <ball>", "-m", "."]).contains("<ball>"));
    assert!(failure(folder, &["generate", "a ball", "-m", ".", "-c", &concept, "--force"]).contains("<ball>"));
    let looked_up = failure(folder, &["generate", "a <cube>", "-m", ".", "--concepts", "."]);
    assert!(
        looked_up.contains("<cube>") && looked_up.contains("holds only") && looked_up.contains("<striped>"),
        "{looked_up}"
    );
    let twice = failure(folder, &["generate", "a <ball>", "-m", ".", "-c", "ball=gone.safetensors"]);
    assert_eq!(twice.matches("No such file").count(), 1, "{twice}");
    assert!(failure(folder, &["generate", "a", "-m", ".", "--width", "60"]).contains("multiple of 8"));
    let odd = failure(folder, &["generate", "a", "-m", ".", "--width", "64", "--height", "72"]);
    assert!(odd.contains("size 64x72") && odd.contains("multiples of 64"), "{odd}");
    assert!(failure(folder, &["generate", "a", "-m", ".", "--provider", "gpu"]).contains("there are auto, cpu"));
    assert!(failure(folder, &["generate", "a", "-m", ".", "--onnxruntime", "no.so"]).contains("no.so"));
    assert!(failure(folder, &["generate", "--from", "init.png"]).contains("holds no settings"));
    assert!(failure(folder, &["generate", "a", "-m", ".", "--variations", "1,2"]).contains("no concept"));
    assert!(failure(folder, &["generate", "a", "-m", ".", "--strength", "0.5"]).contains("--init-image"));
    assert!(failure(folder, &["generate", "a", "-m", ".", "--layer-scale", "6"]).contains("LAYER:FACTOR"));
    assert!(failure(folder, &["generate", "a", "-m", ".", "--scheduler", "plms"]).contains("ddim, ddpm, euler"));
    assert!(failure(folder, &["generate", "a", "-m", ".", "--graphs", "three"]).contains("f+c, dual, shared"));
}

#[test]
fn concepts_that_do_not_serve_are_refused_by_name() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let striped = Concept::load(tiny::source().join("striped.safetensors")).unwrap();
    let saved = |name: &str, change: &dyn Fn(&mut Concept)| {
        let mut concept = striped.clone();
        change(&mut concept);
        concept.save(folder.join(name), Precision::F32, Existing::Keep).unwrap();
        failure(folder, &["generate", "a <ball>", "-m", ".", "--steps", "1", "-c", &format!("ball={name}")])
    };
    let other = saved("other.safetensors", &|it| it.base_model_hash = Some(format!("sha256:{}", "0".repeat(64))));
    let own = Pipeline::open(folder, &PipelineOptions::default()).unwrap().graphs().base_model_hash.clone().unwrap();
    assert!(other.contains("other.safetensors") && other.contains(&"0".repeat(64)) && other.contains(&own), "{other}");
    let wide = saved("wide.safetensors", &|it| {
        it.base_model_hash = Some(own.clone());
        it.layers.values_mut().for_each(|delta| *delta = ndarray::Array2::zeros((1, 7)));
    });
    assert!(wide.contains("wide.safetensors") && wide.contains("[1, 7]"), "{wide}");

    let mut bytes = std::fs::read(tiny::source().join("striped.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(folder.join("nan.safetensors"), bytes).unwrap();
    let nan = failure(folder, &["generate", "a <ball>", "-m", ".", "-c", "ball=nan.safetensors", "--force"]);
    assert!(nan.contains("nan.safetensors") && nan.contains("NaN"), "{nan}");

    let huge = format!("{}:3e38", concept());
    let over = failure(folder, &["generate", "a <ball>", "-m", ".", "-c", &huge, "--force", "--steps", "3"]);
    assert!(over.contains("step 1 of 3") && over.contains("no number"), "{over}");
}

#[test]
fn several_prompts_stand_side_by_side_on_the_sheet() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let prompts = ["two <ball|balls>, red", "the (<ball:0.5>:1.2)! A <ball>."];
    let long = format!("{} a <ball>", "a photo of the sea at night, ".repeat(12));
    let more = ["-m", ".", "--steps", "1", "--width", "64", "--height", "64", "--seed", "3", "--force", "-q"];
    let output = ["-o", "a.png", "--foundation", "f.png", "--sheet", "s.png"];
    infusion(folder)
        .arg("generate")
        .args(prompts)
        .args([&long, "--concept", &concept()])
        .args(more)
        .args(output)
        .assert()
        .success();
    for prompt in 1..=3 {
        let (c, f) =
            (pixels(&folder.join(format!("a-p{prompt}.png"))), pixels(&folder.join(format!("f-p{prompt}.png"))));
        assert_ne!(c, f);
    }
    let (width, height) = pixels(&folder.join("s.png")).dimensions();
    assert!(width >= 3 * 64 && height >= 2 * 64, "three columns, F above C: {width}x{height}");
}

#[test]
fn concepts_vary_on_one_foundation() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let other = format!("ball={}:-0.7", tiny::source().join("striped.safetensors").display());
    let more = ["--variations", "1", "--variation", &other, "--graphs", "f+c", "-o", "a.png", "-q"];
    infusion(folder).args(short()).args(more).assert().success();
    let (one, two) = (pixels(&folder.join("a-7-v1.png")), pixels(&folder.join("a-7-v2.png")));
    assert_ne!(one, two);
    infusion(folder).args(["generate", "--from", "a-7-v2.png", "--force", "-q", "-o", "b.png"]).assert().success();
    assert!(alike(&folder.join("b.png"), &folder.join("a-7-v2.png")), "a variation's own settings are in it");
}

#[test]
fn settings_of_other_tools_are_repeated() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let theirs = "a ball in the snow\nNegative prompt: two\n\
        Steps: 3, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 2.5, Seed: 9, Size: 64x80, Version: v1.10.1";
    let mut text = PictureText::default();
    text.insert("parameters", theirs);
    let picture = image::RgbImage::new(8, 8);
    infusion::picture::save(folder.join("theirs.png"), &picture, &text, Existing::Keep).unwrap();
    infusion(folder).args(["generate", "--from", "theirs.png", "-m", ".", "-q", "-o", "a.png"]).assert().success();
    assert_eq!(pixels(&folder.join("a.png")).dimensions(), (64, 80));
    let written = infusion::picture::read_text(folder.join("a.png")).unwrap().parameters().unwrap();
    let read = infusion::picture::Parameters::parse(theirs);
    assert_eq!((&written.prompt, &written.negative_prompt), (&read.prompt, &read.negative_prompt));
    for (name, value) in [("Steps", "3"), ("Sampler", "DPM++ 2M Karras"), ("CFG scale", "2.5"), ("Seed", "9")] {
        assert_eq!(written.settings[name], value);
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_between_steps_and_says_what_was_kept() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("infusion"));
    command.current_dir(folder).args([
        "generate",
        "a ball",
        "-m",
        ".",
        "--width",
        "64",
        "--height",
        "64",
        "--no-cache",
    ]);
    command.args(["--scheduler", "ddpm", "--steps", "900", "--preview-every", "1", "-o", "a.png"]);
    let child = command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let started = std::time::Instant::now();
    while !folder.join("a-preview.png").exists() {
        assert!(started.elapsed().as_secs() < 60, "no preview appeared");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("stopped after") && said.contains("of 900 steps; kept: a-preview.png"), "{said}");
    assert!(!folder.join("a.png").exists());
    assert!(image::open(folder.join("a-preview.png")).is_ok(), "the preview is whole");
}

#[test]
fn a_cache_is_made_and_hit() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let states = |picture: &str| {
        let more = ["--cache", "kept", "--provider", "cpu", "--json", "-o", picture];
        let output = infusion(folder).args(short()).args(more).assert().success();
        let report: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        let parts = report["sessions"].as_array().unwrap().clone();
        parts.iter().map(|part| part["cache"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(states("a.png").iter().all(|state| state == "Made"));
    assert!(states("b.png").iter().all(|state| state == "Hit"));
    assert_eq!(pixels(&folder.join("a.png")), pixels(&folder.join("b.png")));
}

#[test]
fn without_a_library_every_place_tried_is_listed() {
    let pipeline = tiny::pipeline();
    let folder = pipeline.path();
    let program = folder.join("infusion");
    std::fs::copy(assert_cmd::cargo::cargo_bin("infusion"), &program).unwrap();
    let mut command = std::process::Command::new(&program);
    command.current_dir(folder).env_clear().env("HOME", folder).env("PATH", folder);
    let output = command.args(["generate", "a ball", "-m", "."]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for place in
        ["ORT_DYLIB_PATH", "beside the program", "make setup", "the system's loader", "Python package", "pip install"]
    {
        assert!(said.contains(place), "{place} is missing in {said}");
    }
}

/// Every option has a line of help, those that take a value a default or a unit, and some test passes it.
#[test]
fn every_option_is_explained_and_driven() {
    let folder = tempfile::tempdir().unwrap();
    let tests =
        [include_str!("generate_program.rs"), include_str!("concept_program.rs"), include_str!("providers_program.rs")];
    for command in [
        &["generate"][..],
        &["inspect"],
        &["providers"],
        &["completions"],
        &["man"],
        &["concept", "show"],
        &["concept", "convert"],
        &["concept", "merge"],
        &["concept", "import"],
        &["concept", "export"],
    ] {
        let output = infusion(folder.path()).args(command).arg("--help").assert().success();
        let help = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        let mut undriven = Vec::new();
        let words = help.split(|c: char| !(c.is_alphanumeric() || c == '-'));
        for option in words.filter(|word| word.starts_with("--") && word.len() > 2 && *word != "--help") {
            let driven = tests.iter().any(|test| test.contains(&format!("\"{option}\"")));
            undriven.extend((!driven).then(|| option.to_owned()));
        }
        assert!(undriven.is_empty(), "{command:?}: {undriven:?} are driven by no test");
        let options = help.split_once("\nOptions:\n").map_or("", |(_, options)| options);
        for block in options.split("\n\n").filter(|block| block.trim_start().starts_with('-')) {
            assert!(block.lines().count() > 1 || block.contains("  "), "{command:?}: no help for {block}");
        }
    }
}

#[test]
fn providers_completions_man_and_help_print() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["providers"][..], "auto takes"),
        (&["completions", "bash"], "infusion"),
        (&["completions", "zsh"], "preview-every"),
        (&["man"], "concept"),
        (&["man", "generate"], "guidance"),
        (&["generate", "--help"], "--preview-every"),
    ] {
        let output = infusion(folder.path()).args(arguments).assert().success();
        assert!(String::from_utf8_lossy(&output.get_output().stdout).contains(expected), "{arguments:?}");
    }
}
