//! Finding, checking and loading the ONNX Runtime library, once in a process.
//!
//! Order: an explicit path, `ORT_DYLIB_PATH`, a library that is already in the
//! process, beside the program, what `make setup` fetched, the system's loader,
//! an installed Python package.
//!
//! A library that the process had before is its host's: [`load`] treats it as [`adopt`] does.
//!
//! The crate `ort` allows one environment a process. A Rust program with sessions of its own by `ort` therefore
//! shares one with this crate: it hands its own to [`share`], or takes this crate's from [`environment`].

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use ort::AsPointer as _;
use ort::environment::{Environment, EnvironmentBuilder, GlobalThreadPoolOptions};
use ort::sys::{OrtApi, OrtApiBase, OrtEnv, OrtStatusPtr};

use super::locate::{Candidate, in_process, libraries_in, places};
use super::threads::default_threads;
use super::{Error, Result};

/// The oldest minor version of ONNX Runtime 1.x that serves.
pub const MINIMUM_VERSION: u32 = ort::MINOR_VERSION;

/// Which library to load, and how many threads its sessions share.
#[derive(Clone, Debug, Default)]
pub struct LibraryChoice {
    /// The library's file, or a folder that holds it; `None` searches.
    pub path: Option<PathBuf>,
    /// Threads of the pool that all sessions share; `None` takes one for each physical core.
    pub threads: Option<usize>,
}

/// The library in use.
#[derive(Clone, Debug)]
pub struct LibraryInfo {
    /// Its file; `None` when a host handed over a pointer.
    pub path: Option<PathBuf>,
    /// Its version, e.g. `1.32.0`.
    pub version: String,
    /// Where it was found, e.g. `an installed Python package`.
    pub place: &'static str,
    /// Threads of the shared pool; `None` when each session has its own.
    pub threads: Option<usize>,
}

impl LibraryInfo {
    /// The version's second number, which is also the version of its API.
    pub fn minor_version(&self) -> u32 {
        minor_version(&self.version)
    }
}

pub(super) struct Loaded {
    pub info: LibraryInfo,
    pub environment: Environment,
    base: Base,
}

struct Base(*const OrtApiBase);
// SAFETY: ONNX Runtime's API tables are immutable for the life of the process.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

static LOADED: OnceLock<Loaded> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// Loads the library that `choice` names or the first one that the search finds.
///
/// Call it before anything else of this module; later calls return what is loaded.
///
/// # Errors
/// None is found, the one named is too old or no ONNX Runtime, or another one is loaded already.
pub fn load(choice: &LibraryChoice) -> Result<&'static LibraryInfo> {
    let _guard = LOADING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(loaded) = LOADED.get() {
        return same_as_asked(&loaded.info, choice.path.as_deref());
    }
    // Looked at before the search loads anything.
    let in_process = in_process();
    let (candidate, version) = choose(choice)?;
    let failed = |reason: String| Error::Library { path: candidate.path.clone(), reason };
    let base = base_of(&candidate.path).map_err(failed)?;
    if in_process.iter().any(|file| same_file(file, &candidate.path)) {
        let info = LibraryInfo { path: Some(candidate.path), version, place: candidate.place, threads: None };
        // SAFETY: the library gave its base, and stays loaded.
        return unsafe { adopt_as(base, info) };
    }
    let builder = ort::init_from(&candidate.path).map_err(|error| failed(error.to_string()))?;
    let threads = choice.threads.filter(|&count| count > 0).unwrap_or_else(default_threads);
    let pool = GlobalThreadPoolOptions::default().with_intra_threads(threads)?.with_inter_threads(1)?;
    let environment = built(builder.with_name("infusion").with_telemetry(false).with_global_thread_pool(pool))?;
    let info = LibraryInfo { path: Some(candidate.path), version, place: candidate.place, threads: Some(threads) };
    Ok(&keep(Loaded { info, environment, base: Base(base) }).info)
}

/// Uses the ONNX Runtime of a host through its `OrtApiBase`, so that the process holds one copy.
///
/// Each session then has threads of its own, since the host's environment may have no shared pool. The
/// host's logging and telemetry stay as they are.
///
/// # Errors
/// The host's version is too old, or another library is in use already.
///
/// # Safety
/// `base` must be what `OrtGetApiBase()` returned, and its library must stay loaded.
pub unsafe fn adopt(base: *const OrtApiBase) -> Result<&'static LibraryInfo> {
    let _guard = LOADING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(loaded) = LOADED.get() {
        return match std::ptr::eq(loaded.base.0, base) {
            true => Ok(&loaded.info),
            false => {
                Err(Error::Host { reason: format!("ONNX Runtime is already loaded from {}", describe(&loaded.info)) })
            }
        };
    }
    if base.is_null() {
        return Err(Error::Host { reason: "its OrtApiBase is a null pointer".to_owned() });
    }
    // SAFETY: the caller vouches for `base`.
    let version = unsafe { version_of(base) }.map_err(|reason| Error::Host { reason })?;
    check_version(&version).map_err(|reason| Error::Host { reason })?;
    // SAFETY: as above.
    unsafe { adopt_as(base, LibraryInfo { path: None, version, place: "the host", threads: None }) }
}

/// Uses a library that belongs to the host: the process's environment is the host's, so nothing is set in it.
///
/// # Safety
/// As [`adopt`]; the library has the version that `info` says.
unsafe fn adopt_as(base: *const OrtApiBase, info: LibraryInfo) -> Result<&'static LibraryInfo> {
    // SAFETY: the caller vouches for `base`; the version has this API.
    let api = unsafe { ((*base).GetApi)(MINIMUM_VERSION) };
    if api.is_null() {
        return Err(Error::Host { reason: format!("version {} offers no API {MINIMUM_VERSION}", info.version) });
    }
    // SAFETY: the table is a plain struct of function pointers that is never changed.
    ort::set_api(leaving_telemetry_alone(unsafe { std::ptr::read(api) }));
    let environment = built(ort::environment::init().with_name("infusion"))?;
    Ok(&keep(Loaded { info, environment, base: Base(base) }).info)
}

fn built(builder: EnvironmentBuilder) -> Result<Environment> {
    builder.build().map_err(|error| {
        let reason = format!(
            "{error}. A program that has an `ort` environment gives it to `runtime::library::share` before anything else"
        );
        Error::Host { reason }
    })
}

/// Uses the environment of a Rust program that has sessions of its own by the crate `ort` (the same version of it:
/// [`super::ort`]).
///
/// As with [`adopt`], sessions have threads of their own, and nothing of the environment is changed.
///
/// # Errors
/// Another environment is in use already, its library is too old, or was loaded in a way that hides its file.
pub fn share(environment: &Environment) -> Result<&'static LibraryInfo> {
    let _guard = LOADING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(loaded) = LOADED.get() {
        return match loaded.environment.ptr() == environment.ptr() {
            true => Ok(&loaded.info),
            false => Err(Error::Host { reason: format!("{} is in use already", describe(&loaded.info)) }),
        };
    }
    let theirs: *const OrtApi = ort::api();
    let (path, base) = hosts_own(theirs)?;
    // SAFETY: `base` is that of a library that the host has loaded.
    let version = unsafe { version_of(base) }.map_err(|reason| Error::Host { reason })?;
    check_version(&version).map_err(|reason| Error::Host { reason })?;
    let info = LibraryInfo { path: Some(path), version, place: "the host", threads: None };
    Ok(&keep(Loaded { info, environment: environment.clone(), base: Base(base) }).info)
}

/// The library of the function table `theirs`: its file, and its base.
fn hosts_own(theirs: *const OrtApi) -> Result<(PathBuf, *const OrtApiBase)> {
    let mut files = in_process();
    files.extend(std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from));
    files.push(format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX).into());
    for file in files {
        let Ok(base) = base_of(&file) else { continue };
        // SAFETY: the base is that of a loaded library.
        let same = |version| std::ptr::eq(unsafe { ((*base).GetApi)(version) }, theirs);
        if same(ort::MINOR_VERSION) {
            return Ok((file, base));
        }
    }
    let reason = "its file was not found among the libraries of this process; load it with `ort::init_from`".to_owned();
    Err(Error::Host { reason })
}

/// This crate's environment, for sessions that a Rust program makes itself by the crate `ort`; loads the library
/// by the default search unless one is in use.
///
/// # Errors
/// As [`load`].
pub fn environment() -> Result<&'static Environment> {
    in_use().map(|loaded| &loaded.environment)
}

/// `ort` switches telemetry on or off whenever it builds an environment; whether a host's is on is for the
/// host to say.
fn leaving_telemetry_alone(mut api: OrtApi) -> OrtApi {
    unsafe extern "system" fn nothing(_: *const OrtEnv) -> OrtStatusPtr {
        OrtStatusPtr::default()
    }
    api.EnableTelemetryEvents = nothing;
    api.DisableTelemetryEvents = nothing;
    api
}

/// The library in use, if one is loaded.
pub fn loaded() -> Option<&'static LibraryInfo> {
    LOADED.get().map(|loaded| &loaded.info)
}

/// What is loaded; loads the library by the default search if need be.
pub(super) fn in_use() -> Result<&'static Loaded> {
    if LOADED.get().is_none() {
        load(&LibraryChoice::default())?;
    }
    LOADED.get().ok_or_else(|| Error::Runtime("the library is not loaded".to_owned()))
}

/// The function table of API `version`, where the library has it.
pub(super) fn api(version: u32) -> Option<*const OrtApi> {
    let loaded = LOADED.get()?;
    if loaded.info.minor_version() < version {
        return None;
    }
    // SAFETY: the base is that of the loaded library, which is never unloaded.
    let api = unsafe { ((*loaded.base.0).GetApi)(version) };
    (!api.is_null()).then_some(api)
}

fn keep(loaded: Loaded) -> &'static Loaded {
    LOADED.get_or_init(|| loaded)
}

fn same_as_asked(info: &'static LibraryInfo, asked: Option<&Path>) -> Result<&'static LibraryInfo> {
    let same = |asked: &Path| {
        let asked = if asked.is_dir() { libraries_in(asked).into_iter().next() } else { Some(asked.to_owned()) };
        asked.as_deref().zip(info.path.as_deref()).is_some_and(|(asked, loaded)| same_file(asked, loaded))
    };
    match asked {
        Some(asked) if !same(asked) => Err(Error::AlreadyLoaded { loaded: describe(info), asked: asked.to_owned() }),
        _ => Ok(info),
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    one.canonicalize().ok().zip(other.canonicalize().ok()).is_some_and(|(one, other)| one == other)
}

fn describe(info: &LibraryInfo) -> String {
    match &info.path {
        Some(path) => format!("{} ({})", path.display(), info.version),
        None => format!("{} ({})", info.place, info.version),
    }
}

fn choose(choice: &LibraryChoice) -> Result<(Candidate, String)> {
    let from_environment = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = &choice.path {
        return named(path, "the path given");
    }
    if let Some(path) = &from_environment {
        return named(path, "ORT_DYLIB_PATH");
    }
    search()
}

fn named(path: &Path, place: &'static str) -> Result<(Candidate, String)> {
    let failed = |reason: String| Error::Library { path: path.to_owned(), reason: format!("{reason} (from {place})") };
    let path = match path.is_dir() {
        true => {
            libraries_in(path).into_iter().next().ok_or_else(|| failed("the folder holds no library".to_owned()))?
        }
        false => path.to_owned(),
    };
    let version = probe(&path).map_err(failed)?;
    Ok((Candidate { path, place }, version))
}

fn search() -> Result<(Candidate, String)> {
    let mut tried = vec!["  --onnxruntime and ORT_DYLIB_PATH: not given".to_owned()];
    for place in places() {
        if place.files.is_empty() {
            tried.push(format!("  {}: {}", place.name, place.looked_at));
        }
        for path in place.files {
            match probe(&path) {
                Ok(version) => return Ok((Candidate { path, place: place.name }, version)),
                Err(reason) => tried.push(format!("  {}: {}: {reason}", place.name, path.display())),
            }
        }
    }
    Err(Error::LibraryNotFound { tried })
}

/// The version of the library at `path`, if it is new enough.
fn probe(path: &Path) -> Result<String, String> {
    // SAFETY: loading a library runs its initialisers; that is what the user asks for.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| error.to_string())?;
    // SAFETY: the pointer is used while `library` is alive.
    let version = unsafe { version_of(symbol_base(&library)?) }?;
    check_version(&version)?;
    Ok(version)
}

/// The API of the library at `path`, which stays loaded for good.
fn base_of(path: &Path) -> Result<*const OrtApiBase, String> {
    // SAFETY: as in `probe`; the library is not unloaded afterwards.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| error.to_string())?;
    let base = symbol_base(&library);
    std::mem::forget(library);
    base
}

fn symbol_base(library: &libloading::Library) -> Result<*const OrtApiBase, String> {
    // SAFETY: the signature is that of ONNX Runtime's C API since its first version.
    let getter = unsafe { library.get::<unsafe extern "C" fn() -> *const OrtApiBase>(b"OrtGetApiBase\0") };
    let getter = getter.map_err(|_| "it does not export OrtGetApiBase, so it is no ONNX Runtime".to_owned())?;
    // SAFETY: the function takes nothing and returns a pointer to a constant.
    let base = unsafe { getter() };
    if base.is_null() { Err("OrtGetApiBase returned a null pointer".to_owned()) } else { Ok(base) }
}

/// # Safety
/// `base` must be a valid `OrtApiBase`.
unsafe fn version_of(base: *const OrtApiBase) -> Result<String, String> {
    // SAFETY: the caller vouches for `base`; the text is a constant of the library.
    let text = unsafe { CStr::from_ptr(((*base).GetVersionString)()) };
    text.to_str().map(str::to_owned).map_err(|_| "its version is not text".to_owned())
}

fn minor_version(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0)
}

fn check_version(version: &str) -> Result<(), String> {
    match minor_version(version) >= MINIMUM_VERSION {
        true => Ok(()),
        false => Err(format!("its version is {version}, and 1.{MINIMUM_VERSION} or newer is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_by_search_and_is_idempotent() {
        let first = load(&LibraryChoice::default()).unwrap();
        let second = load(&LibraryChoice { threads: Some(1), ..Default::default() }).unwrap();
        assert!(std::ptr::eq(first, second));
        assert!(first.minor_version() >= MINIMUM_VERSION);
        assert!(load(&LibraryChoice { path: first.path.clone(), threads: None }).is_ok());
    }

    #[test]
    fn refuses_a_second_library() {
        load(&LibraryChoice::default()).unwrap();
        let other = LibraryChoice { path: Some(PathBuf::from("/nowhere/libonnxruntime.so")), threads: None };
        let error = load(&other).unwrap_err().to_string();
        assert!(error.contains("already loaded") && error.contains("/nowhere/libonnxruntime.so"), "{error}");
    }

    #[test]
    fn a_named_file_that_does_not_serve_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libonnxruntime.so");
        std::fs::write(&file, b"no library").unwrap();
        let error = named(&file, "ORT_DYLIB_PATH").unwrap_err().to_string();
        assert!(error.contains("libonnxruntime.so") && error.contains("ORT_DYLIB_PATH"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        assert!(named(empty.path(), "the path given").unwrap_err().to_string().contains("holds no library"));
    }

    #[test]
    fn names_both_versions_when_too_old() {
        let reason = check_version("1.15.1").unwrap_err();
        assert!(reason.contains("1.15.1") && reason.contains("1.17"), "{reason}");
        assert!(check_version("1.17.0").is_ok() && check_version("1.32.0").is_ok());
        assert!(check_version("garbage").is_err());
    }

    #[test]
    fn the_error_lists_every_place_and_the_way_out() {
        let error = Error::LibraryNotFound { tried: vec!["  a".to_owned(), "  b".to_owned()] }.to_string();
        assert!(error.contains("  a\n  b") && error.contains("make setup") && error.contains("ORT_DYLIB_PATH"));
    }

    #[test]
    fn the_telemetry_of_a_host_is_not_switched() {
        load(&LibraryChoice::default()).unwrap();
        let theirs = api(MINIMUM_VERSION).unwrap();
        // SAFETY: the table is a plain struct of function pointers.
        let ours = leaving_telemetry_alone(unsafe { std::ptr::read(theirs) });
        // SAFETY: the replacements read nothing through the pointer.
        let statuses = unsafe {
            [(ours.EnableTelemetryEvents)(std::ptr::null()), (ours.DisableTelemetryEvents)(std::ptr::null())]
        };
        assert!(statuses.iter().all(|status| status.0.is_null()));
    }

    #[test]
    fn the_environment_in_use_may_be_shared_and_no_second_one_made() {
        let ours = environment().unwrap();
        assert!(std::ptr::eq(share(ours).unwrap(), loaded().unwrap()));
        let error = built(ort::environment::init()).unwrap_err().to_string();
        assert!(error.contains("one environment") && error.contains("runtime::library::share"), "{error}");
        let (file, _) = hosts_own(ort::api()).unwrap();
        assert!(same_file(&file, loaded().unwrap().path.as_deref().unwrap()), "{}", file.display());
        assert!(hosts_own(std::ptr::null()).unwrap_err().to_string().contains("init_from"));
    }

    #[test]
    fn adopting_a_null_pointer_is_refused() {
        // SAFETY: the function checks for null before it looks.
        let refused = unsafe { adopt(std::ptr::null()) };
        assert!(refused.is_err());
    }
}
