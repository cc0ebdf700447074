use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use infusion::train::{Folder, Settings, Subject};

use super::args::Arguments;
use crate::generate::marked_names;

/// The arguments, understood: what is learned from what, and where it goes.
#[derive(Debug)]
pub struct Plan {
    pub model: PathBuf,
    pub prompts: Vec<String>,
    pub subjects: Vec<Subject>,
    pub folders: Vec<Folder>,
    /// One for each subject.
    pub outputs: Vec<PathBuf>,
    pub checkpoint: PathBuf,
    pub settings: Settings,
}

impl Plan {
    pub fn new(arguments: &Arguments) -> Result<Self> {
        let prompts = prompts(arguments)?;
        let mut names: Vec<String> = Vec::new();
        for name in prompts.iter().flat_map(|prompt| marked_names(prompt)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            bail!("--prompt: no prompt marks a concept; write <NAME> where it stands, e.g. \"a photo of a <ball>\"");
        }
        let classes = for_each(&names, "--class", &arguments.classes)?;
        let outputs = for_each(&names, "--output", &arguments.outputs)?;
        let outputs: Vec<PathBuf> = outputs.into_iter().map(PathBuf::from).collect();
        let subjects = names.iter().zip(classes).map(|(name, class)| Subject { name: name.clone(), class });
        let checkpoint = arguments.checkpoint.clone().unwrap_or_else(|| outputs[0].with_extension("checkpoint"));
        let plan = Self {
            model: model(arguments)?,
            subjects: subjects.collect(),
            folders: folders(arguments, &names)?,
            checkpoint,
            prompts,
            outputs,
            settings: Settings {
                steps: arguments.steps,
                learning_rate: arguments.lr,
                lr_scheduler: arguments.lr_scheduler,
                batch: arguments.batch,
                micro_batch: arguments.micro_batch,
                timesteps: arguments.timesteps.clone(),
                seed: arguments.seed.unwrap_or_else(random_seed),
                memory: arguments.memory,
            },
        };
        plan.check_files(arguments)?;
        Ok(plan)
    }

    /// Nothing is computed before it is known that the result can be written.
    fn check_files(&self, arguments: &Arguments) -> Result<()> {
        let pictures = arguments.curve.iter().chain(&arguments.sheet);
        for path in self.outputs.iter().chain(pictures) {
            if path.exists() && !arguments.overwrite {
                bail!("{}: exists already; choose another name, or --overwrite", path.display());
            }
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if folder.is_some_and(|folder| !folder.is_dir()) {
                bail!("{}: its folder does not exist", path.display());
            }
        }
        let drawn = self.validation_pictures(arguments).find(|path| path.exists());
        if let Some(path) = drawn.filter(|_| !arguments.overwrite && !arguments.resume) {
            bail!("{}: exists already, and --validate-every would replace it; move it, or --overwrite", path.display());
        }
        let checkpoint = self.checkpoint.display();
        match (self.checkpoint.exists(), arguments.resume) {
            (true, false) if !arguments.overwrite => {
                bail!(
                    "{checkpoint}: an interrupted training left it; go on with --resume, or start anew with --overwrite"
                )
            }
            (false, true) => bail!("--resume: there is no checkpoint {checkpoint}"),
            _ => Ok(()),
        }
    }

    fn validation_pictures(&self, arguments: &Arguments) -> impl Iterator<Item = PathBuf> {
        let every = arguments.validate_every.unwrap_or(usize::MAX).max(1);
        (every..=self.settings.steps).step_by(every).map(|step| self.validation_picture(step))
    }

    /// A file beside the first concept: `ball-step-100.png`.
    pub fn validation_picture(&self, step: usize) -> PathBuf {
        let stem = self.outputs[0].file_stem().unwrap_or_default().to_string_lossy();
        self.outputs[0].with_file_name(format!("{stem}-step-{step}.png"))
    }
}

fn model(arguments: &Arguments) -> Result<PathBuf> {
    let from_environment = || std::env::var_os("INFUSION_MODEL").map(PathBuf::from);
    let model = arguments.model.clone().or_else(from_environment);
    model.context("--model: name the folder of a pipeline in ONNX (or set INFUSION_MODEL)")
}

fn prompts(arguments: &Arguments) -> Result<Vec<String>> {
    let mut prompts = arguments.prompts.clone();
    if let Some(path) = &arguments.templates {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        prompts.extend(lines.map(str::to_owned));
    }
    Ok(prompts)
}

/// `NAME=VALUE` for each name, or a single value without a name where there is a single name.
fn for_each(names: &[String], option: &str, values: &[String]) -> Result<Vec<String>> {
    let mut found = BTreeMap::new();
    for value in values {
        let (name, value) = named(names, option, value)?;
        let name = match (name, names) {
            (Some(name), _) => name,
            (None, [only]) => only.clone(),
            (None, _) => bail!("{option} {value}: say for which concept: NAME={value}"),
        };
        if found.insert(name.clone(), value).is_some() {
            bail!("{option}: <{name}> has two");
        }
    }
    let take = |name: &String| found.remove(name).with_context(|| format!("{option}: none is given for <{name}>"));
    names.iter().map(take).collect()
}

/// The name before `=`, if it is one that the prompts mark, and the value behind it. Other `=` belong to the value.
fn named(names: &[String], option: &str, value: &str) -> Result<(Option<String>, String)> {
    let (name, rest) = match value.split_once('=') {
        Some((name, rest)) if names.iter().any(|known| known == name) => (Some(name.to_owned()), rest),
        Some((name, _)) if !name.contains(['/', '\\', '.']) => bail!("{option} {value}: no prompt marks <{name}>"),
        _ => (None, value),
    };
    match rest.is_empty() {
        true => bail!("{option} {value}: names nothing"),
        false => Ok((name, rest.to_owned())),
    }
}

fn folders(arguments: &Arguments, names: &[String]) -> Result<Vec<Folder>> {
    let parse = |option: &str, values: &[String]| -> Result<Vec<(Option<String>, String)>> {
        values.iter().map(|value| named(names, option, value)).collect()
    };
    let masks = parse("--masks", &arguments.masks)?;
    let folder = |(subject, path): (Option<String>, String)| {
        let masks = masks.iter().find(|(of, _)| *of == subject).or(masks.iter().find(|(of, _)| of.is_none()));
        Folder { masks: masks.map(|(_, masks)| Path::new(masks).to_owned()), path: path.into(), subject }
    };
    Ok(parse("--images", &arguments.images)?.into_iter().map(folder).collect())
}

/// 32 bits, as many as PyTorch's generator heeds, from the keys that the standard library draws.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|&value| value.to_owned()).collect()
    }

    #[test]
    fn one_concept_needs_no_names_and_several_do() {
        let one = strings(&["ball"]);
        let two = strings(&["ball", "cup"]);
        assert_eq!(for_each(&one, "--class", &strings(&["ball"])).unwrap(), ["ball"]);
        assert_eq!(for_each(&one, "--output", &strings(&["a/x=1.safetensors"])).unwrap(), ["a/x=1.safetensors"]);
        assert_eq!(for_each(&two, "--class", &strings(&["cup=mug", "ball=ball"])).unwrap(), ["ball", "mug"]);
        for (values, reason) in [
            (&["mug"][..], "say for which"),
            (&["ball=ball"], "none is given for <cup>"),
            (&["ball=a", "ball=b"], "two"),
            (&["dog=a"], "no prompt marks <dog>"),
            (&["ball="], "names nothing"),
        ] {
            let error = for_each(&two, "--class", &strings(values)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
