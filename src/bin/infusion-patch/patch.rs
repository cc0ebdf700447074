use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use infusion::onnx::infer::infer;
use infusion::onnx::write::{Copying, Overwrite};
use infusion::onnx::{Model, Transaction, Weights, WriteOptions};
use infusion::patch::{EmitOptions, Error, FindOptions, Manifest, Survey, Variant, emit, find, fuse};

use crate::args::PatchArguments;
use crate::bake::baked;
use crate::check::check;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What a run does, with every default filled in.
struct Plan {
    source: PathBuf,
    stem: String,
    folder: PathBuf,
    variants: Vec<Variant>,
    /// Whether graphs that this export does not allow are left out rather than an error.
    lenient: bool,
}

/// The graphs, and why some could not be made.
struct Made {
    graphs: Vec<(Variant, Model)>,
    left_out: Vec<String>,
}

pub fn run(arguments: &PatchArguments) -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)).context("cannot listen for Ctrl-C")?;
    let plan = Plan::of(arguments)?;
    let model = Model::open(&plan.source)?;
    let survey = find(&model, &infer(&model), &FindOptions::from(&arguments.find))?;
    let bar = RefCell::new(None);
    let on_copy = |copying: Copying<'_>| show(copying, arguments.quiet, &bar);
    let options = WriteOptions {
        weights: if arguments.self_contained { Weights::SelfContained } else { Weights::Shared },
        overwrite: if arguments.force { Overwrite::Always } else { Overwrite::Named(plan.own_files()) },
        on_copy: Some(&on_copy),
    };
    if let Some(concept) = &arguments.bake.bake {
        let (name, graph) = baked(&model, &survey, &plan.stem, concept, arguments)?;
        return plan.write_baked(&name, &graph, options, arguments);
    }
    let Made { graphs, left_out } =
        plan.graphs(&model, &survey, EmitOptions { fuse: arguments.fuse, memory: arguments.memory })?;
    let manifest = Manifest { fused: arguments.fuse, ..Manifest::describe(&model, &survey)? };
    let manifest = plan.write(manifest, &graphs, options)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&manifest)?);
    } else if !arguments.quiet {
        plan.report(&manifest, &survey, &left_out);
        if arguments.fuse {
            let attentions = survey.layers.len() + survey.self_attention.len();
            println!("fused {} of {attentions} attentions", fuse(&model, &survey)?.1);
        }
    }
    if arguments.check {
        check(&plan.source, &plan.folder, &manifest)?;
    }
    Ok(())
}

impl Plan {
    fn of(arguments: &PatchArguments) -> Result<Self> {
        let source = arguments.model.clone().context("no model is named")?;
        let name = source.file_name().with_context(|| format!("{} is no file", source.display()))?;
        let name = name.to_str().with_context(|| format!("{} is not UTF-8, which ONNX needs", source.display()))?;
        let stem = name.strip_suffix(".onnx").unwrap_or(name).to_owned();
        let own = source.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = arguments.output.clone().unwrap_or_else(|| own.to_owned());
        let lenient = arguments.emit.is_empty();
        let variants: Vec<Variant> =
            Variant::ALL.into_iter().filter(|variant| lenient || arguments.emit.contains(variant)).collect();
        Ok(Self { source, stem, folder, variants, lenient })
    }

    fn graphs(&self, model: &Model, survey: &Survey, options: EmitOptions) -> Result<Made> {
        let (mut graphs, mut left_out) = (Vec::new(), Vec::new());
        for &variant in &self.variants {
            match emit(model, survey, variant, &options) {
                Ok(graph) => graphs.push((variant, graph)),
                Err(error @ Error::Variant { .. })
                    if self.lenient && variant != Variant::F && variant != Variant::C =>
                {
                    left_out.push(error.to_string());
                }
                Err(error) => return Err(error).with_context(|| self.source.display().to_string()),
            }
            stop_if_interrupted()?;
        }
        Ok(Made { graphs, left_out })
    }

    /// The files that an earlier run into the same folder lists as its own.
    fn own_files(&self) -> HashSet<String> {
        let name = Manifest::file_name(&self.stem);
        let earlier = std::fs::read(self.folder.join(&name)).ok();
        let earlier = earlier.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
        earlier.map(|manifest| manifest.files.into_iter().chain([name]).collect()).unwrap_or_default()
    }

    /// Writes the graphs and `manifest`, which then names them.
    fn write(
        &self,
        mut manifest: Manifest,
        graphs: &[(Variant, Model)],
        options: WriteOptions<'_>,
    ) -> Result<Manifest> {
        let mut transaction = Transaction::begin(&self.folder, options)?;
        for (variant, graph) in graphs {
            let name = Manifest::graph_name(&self.stem, *variant);
            transaction.model(&name, graph).map_err(advice)?;
            manifest.graphs.insert(variant.name().to_owned(), name);
        }
        // Weights that an earlier run provided stay listed, so that a later one may replace them.
        let mut files: BTreeSet<String> = transaction.file_names().into_iter().collect();
        let manifest_name = Manifest::file_name(&self.stem);
        files.extend(self.own_files().into_iter().filter(|name| *name != manifest_name));
        manifest.files = files.into_iter().collect();
        let text = serde_json::to_string_pretty(&manifest)? + "\n";
        transaction.file(&manifest_name, text.as_bytes()).map_err(advice)?;
        stop_if_interrupted()?;
        transaction.commit().map_err(advice)?;
        Ok(manifest)
    }

    fn write_baked(
        &self,
        name: &str,
        graph: &Model,
        options: WriteOptions<'_>,
        arguments: &PatchArguments,
    ) -> Result<()> {
        let mut transaction = Transaction::begin(&self.folder, options)?;
        transaction.model(name, graph).map_err(advice)?;
        stop_if_interrupted()?;
        let files = transaction.commit().map_err(advice)?;
        if arguments.json {
            println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "files": files }))?);
        } else if !arguments.quiet {
            files.iter().for_each(|file| println!("wrote {}", file.display()));
        }
        Ok(())
    }

    fn report(&self, manifest: &Manifest, survey: &Survey, left_out: &[String]) {
        println!("{}: {} cross-attention layers", self.source.display(), survey.layers.len());
        for name in manifest.files.iter().chain([&Manifest::file_name(&self.stem)]) {
            println!("wrote {}", self.folder.join(name).display());
        }
        for reason in left_out {
            println!("note: {reason}");
        }
    }
}

fn advice(error: infusion::onnx::Error) -> anyhow::Error {
    match error {
        infusion::onnx::Error::Exists { .. } => {
            anyhow::Error::new(error).context("name another folder with -o, or use --force")
        }
        error => error.into(),
    }
}

fn stop_if_interrupted() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted; nothing was written");
    }
    Ok(())
}

/// Draws how a copy goes, where somebody watches.
fn show(copying: Copying<'_>, quiet: bool, bar: &RefCell<Option<ProgressBar>>) -> ControlFlow<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return ControlFlow::Break(());
    }
    if !quiet && std::io::stderr().is_terminal() {
        let mut bar = bar.borrow_mut();
        let bar = bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left");
            let bar = ProgressBar::new(copying.total);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        bar.set_length(copying.total);
        bar.set_message(format!("copying {}", copying.file.display()));
        bar.set_position(copying.done);
    }
    ControlFlow::Continue(())
}
