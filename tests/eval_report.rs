//! `infusion eval report` as a user runs it, on the tiny pipeline and tiny backbones.

#[path = "support/tiny.rs"]
mod tiny;

use std::path::Path;

use assert_cmd::Command;
use serde_json::{Value, json};

fn report(folder: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("infusion").unwrap();
    command.current_dir(folder).env_remove("INFUSION_MODEL").args(["eval", "report", "--model", "."]);
    let short = ["--steps", "2", "--size", "64", "--force", "--quiet", "--no-cache", "--threads", "1"];
    command.args(["--concept", "ball=striped.safetensors"]).args(short).args(arguments).output().unwrap()
}

fn backbone(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backbones").join(name).display().to_string()
}

#[test]
fn the_page_holds_pictures_measures_and_settings_and_needs_nothing_else() {
    let folder = tiny::pipeline();
    let fisher = json!({"measure": "latent Fisher divergence", "divergence": 0.0, "standard_error": 0.0, "pairs": 9,
        "seed": 0, "customised": "striped.safetensors", "applied_to": null});
    std::fs::write(folder.path().join("fisher.json"), fisher.to_string()).unwrap();
    let (clip, dino) = (backbone("clip"), backbone("vit"));
    let scores = ["--clip", &clip, "--dino", &dino, "--references", "init.png", "--include", "fisher.json"];
    let prompts = ["--prompt", "a photo of a <ball>", "--prompt", "a <ball:0.5> & \"snow\"", "--pictures", "2"];
    let output = report(folder.path(), &[&prompts[..], &scores].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert_eq!(page.matches("data:image/png;base64,").count(), 4 * 3, "F, C and one heat map of each scene");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("a &lt;ball:0.5&gt; &amp; &quot;snow&quot;"));

    let data: Value = serde_json::from_slice(&std::fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    let names: Vec<&str> = data["measures"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    let expected = ["CLIP-T", "CLIP-I", "CLIP-T", "CLIP-I", "DINO", "DINO", "latent Fisher divergence"];
    assert_eq!(names, expected);
    assert!(data["measures"][0]["interval"].is_f64() && data["measures"][0]["count"] == 4);
    assert!(data["measures"][0]["detail"].as_str().unwrap().contains("tiny/clip"));
    assert_eq!((&data["concepts"][0]["class"], &data["settings"]["steps"]), (&json!("ball"), &json!(2)));
    assert_eq!(
        data["pictures"][1],
        json!({"prompt": "a photo of a <ball>", "text": "a photo of a ball", "seed": 1, "concepts": ["ball"]})
    );
    for version in ["infusion", "onnxruntime", "provider"] {
        assert!(data["versions"][version].is_string(), "{version}");
    }
}

#[test]
fn nothing_is_overwritten_and_what_is_wrong_is_named() {
    let folder = tiny::pipeline();
    let refused = |arguments: &[&str]| {
        let output = report(folder.path(), arguments);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&[]).contains("--prompt"));
    assert!(refused(&["--prompt", "a ball"]).contains("<ball>"));
    assert!(refused(&["--prompt", "a <cup>"]).contains("cup"));
    std::fs::write(folder.path().join("other.json"), "{\"measure\": \"length\"}").unwrap();
    assert!(refused(&["--prompt", "a <ball>", "--include", "other.json"]).contains("other.json"));
    std::fs::write(folder.path().join("report.json"), "mine").unwrap();
    assert!(refused(&["--prompt", "a <ball>"]).contains("--overwrite"));
    assert_eq!(std::fs::read_to_string(folder.path().join("report.json")).unwrap(), "mine");
}
