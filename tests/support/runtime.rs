//! A host's own ONNX Runtime, with its function table watched.
#![allow(dead_code)]

use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use ort::sys::{
    OrtApi, OrtApiBase, OrtEnv, OrtLoggingLevel, OrtRunOptions, OrtSession, OrtStatusPtr, OrtThreadingOptions, OrtValue,
};

/// Calls that would change something global.
pub static GLOBAL_CHANGES: AtomicUsize = AtomicUsize::new(0);
/// Messages that reached the host's logger.
pub static MESSAGES: AtomicUsize = AtomicUsize::new(0);
/// The environment that the library was given.
pub static THEIRS: AtomicPtr<OrtEnv> = AtomicPtr::new(std::ptr::null_mut());
/// Nanoseconds inside of runs, and how many runs there were.
pub static RUN_NANOSECONDS: AtomicU64 = AtomicU64::new(0);
pub static RUNS: AtomicUsize = AtomicUsize::new(0);

/// The oldest API that the library asks for.
const API: u32 = 17;

struct Tables {
    real: *const OrtApiBase,
    api: *const OrtApi,
    watched: OrtApi,
    base: OrtApiBase,
}

// SAFETY: ONNX Runtime's tables never change.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

static TABLES: OnceLock<Tables> = OnceLock::new();

/// `ORT_DYLIB_PATH`, or what `make setup` fetched.
pub fn library() -> PathBuf {
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.unwrap_or_else(|| {
        let fetched = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/onnxruntime");
        let mut files = std::fs::read_dir(fetched).unwrap().map(|entry| entry.unwrap().path());
        let is_library = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("libonnxruntime.");
        files.find(is_library).expect("make setup")
    })
}

/// Loads the library as a host does, and returns a base whose API is watched.
pub fn watched() -> *const OrtApiBase {
    let tables = TABLES.get_or_init(|| {
        // SAFETY: the library is ONNX Runtime, and stays loaded.
        unsafe {
            let library = Box::leak(Box::new(libloading::Library::new(library()).unwrap()));
            let getter = library.get::<unsafe extern "C" fn() -> *const OrtApiBase>(b"OrtGetApiBase\0").unwrap();
            let real = getter();
            let api = ((*real).GetApi)(API);
            let mut watched = std::ptr::read(api);
            watched.CreateEnv = create_env;
            watched.CreateEnvWithGlobalThreadPools = create_env_with_pools;
            watched.EnableTelemetryEvents = telemetry;
            watched.DisableTelemetryEvents = telemetry;
            watched.UpdateEnvWithCustomLogLevel = update_log_level;
            watched.Run = run;
            let base = OrtApiBase { GetApi: get_api, GetVersionString: (*real).GetVersionString };
            Tables { real, api, watched, base }
        }
    });
    &tables.base
}

/// Makes the host's environment, whose logger counts.
pub fn environment() -> *mut OrtEnv {
    let mut environment = std::ptr::null_mut();
    // SAFETY: the table is that of a loaded library.
    let status = unsafe {
        ((*TABLES.get().unwrap().api).CreateEnvWithCustomLogger)(
            count_message,
            std::ptr::null_mut(),
            OrtLoggingLevel::ORT_LOGGING_LEVEL_WARNING,
            c"host".as_ptr(),
            &mut environment,
        )
    };
    assert!(status.0.is_null());
    environment
}

fn real() -> &'static OrtApi {
    // SAFETY: the table of a loaded library never changes.
    unsafe { &*TABLES.get().unwrap().api }
}

unsafe extern "system" fn get_api(version: u32) -> *const OrtApi {
    let tables = TABLES.get().unwrap();
    match version {
        API => &tables.watched,
        // SAFETY: the base is that of a loaded library.
        other => unsafe { ((*tables.real).GetApi)(other) },
    }
}

unsafe extern "system" fn create_env(level: OrtLoggingLevel, id: *const c_char, out: *mut *mut OrtEnv) -> OrtStatusPtr {
    // SAFETY: the arguments are passed on.
    unsafe {
        let status = (real().CreateEnv)(level, id, out);
        THEIRS.store(*out, Ordering::Relaxed);
        status
    }
}

unsafe extern "system" fn create_env_with_pools(
    level: OrtLoggingLevel,
    id: *const c_char,
    options: *const OrtThreadingOptions,
    out: *mut *mut OrtEnv,
) -> OrtStatusPtr {
    GLOBAL_CHANGES.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the arguments are passed on.
    unsafe { (real().CreateEnvWithGlobalThreadPools)(level, id, options, out) }
}

unsafe extern "system" fn telemetry(_: *const OrtEnv) -> OrtStatusPtr {
    GLOBAL_CHANGES.fetch_add(1, Ordering::Relaxed);
    OrtStatusPtr::default()
}

unsafe extern "system" fn update_log_level(_: *mut OrtEnv, _: OrtLoggingLevel) -> OrtStatusPtr {
    GLOBAL_CHANGES.fetch_add(1, Ordering::Relaxed);
    OrtStatusPtr::default()
}

unsafe extern "system" fn count_message(
    _: *mut c_void,
    _: OrtLoggingLevel,
    _: *const c_char,
    _: *const c_char,
    _: *const c_char,
    _: *const c_char,
) {
    MESSAGES.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "system" fn run(
    session: *mut OrtSession,
    options: *const OrtRunOptions,
    input_names: *const *const c_char,
    inputs: *const *const OrtValue,
    inputs_count: usize,
    output_names: *const *const c_char,
    outputs_count: usize,
    outputs: *mut *mut OrtValue,
) -> OrtStatusPtr {
    let started = Instant::now();
    // SAFETY: the arguments are passed on.
    let status = unsafe {
        (real().Run)(session, options, input_names, inputs, inputs_count, output_names, outputs_count, outputs)
    };
    RUN_NANOSECONDS.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
    RUNS.fetch_add(1, Ordering::Relaxed);
    status
}
