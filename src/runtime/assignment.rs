use std::ffi::{CStr, c_char, c_void};
use std::fmt;

use indexmap::IndexMap;
use ort::AsPointer;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::sys::{OrtSession, OrtStatusPtr};

use super::{Result, library};

/// The API in which ONNX Runtime began to tell which provider runs which node.
const API: u32 = 24;

/// Index of `Session_GetEpGraphAssignmentInfo` in the `OrtApi` table; the functions that read
/// its results follow. The table only ever grows at its end.
const FIRST: usize = 407;

/// How many nodes each provider runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Numbers of nodes by ONNX Runtime's names of the providers.
    pub nodes: IndexMap<String, usize>,
    /// Types of the operators that the CPU runs, with their numbers of nodes.
    pub on_cpu: IndexMap<String, usize>,
}

#[repr(C)]
struct Functions {
    graph_assignment:
        unsafe extern "system" fn(*const OrtSession, *mut *const *const c_void, *mut usize) -> OrtStatusPtr,
    ep_name: unsafe extern "system" fn(*const c_void, *mut *const c_char) -> OrtStatusPtr,
    nodes: unsafe extern "system" fn(*const c_void, *mut *const *const c_void, *mut usize) -> OrtStatusPtr,
    node_name: unsafe extern "system" fn(*const c_void, *mut *const c_char) -> OrtStatusPtr,
    node_domain: unsafe extern "system" fn(*const c_void, *mut *const c_char) -> OrtStatusPtr,
    node_operator: unsafe extern "system" fn(*const c_void, *mut *const c_char) -> OrtStatusPtr,
}

fn functions() -> Option<&'static Functions> {
    let table: *const usize = library::api(API)?.cast();
    // SAFETY: API 24 has these six functions from index 407 on, and the table is never freed.
    Some(unsafe { &*table.add(FIRST).cast::<Functions>() })
}

impl Assignment {
    /// Asks ONNX Runtime to keep a record, where its version can.
    pub(super) fn record(builder: SessionBuilder) -> Result<SessionBuilder> {
        match functions() {
            Some(_) => Ok(builder.with_config_entry("session.record_ep_graph_assignment_info", "1")?),
            None => Ok(builder),
        }
    }

    /// The record of `session`, where ONNX Runtime kept one.
    pub(super) fn of(session: &Session) -> Option<Self> {
        let functions = functions()?;
        let mut assignment = Self::default();
        // SAFETY: the session is alive and the function fills both out-parameters.
        let subgraphs = unsafe { list(|items, count| (functions.graph_assignment)(session.ptr(), items, count)) }?;
        for subgraph in subgraphs {
            // SAFETY: `subgraph` belongs to the session; the text and nodes do, too.
            let name = unsafe { text(|out| (functions.ep_name)(subgraph, out)) }?;
            // SAFETY: as above.
            let nodes = unsafe { list(|items, count| (functions.nodes)(subgraph, items, count)) }?;
            if name == "CPUExecutionProvider" {
                for &node in &nodes {
                    // SAFETY: as above.
                    let operator = unsafe { text(|out| (functions.node_operator)(node, out)) }?;
                    *assignment.on_cpu.entry(operator).or_default() += 1;
                }
            }
            *assignment.nodes.entry(name).or_default() += nodes.len();
        }
        Some(assignment)
    }

    /// The number of all nodes.
    pub fn total(&self) -> usize {
        self.nodes.values().sum()
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.nodes.iter().map(|(name, count)| format!("{count} nodes on {name}")).collect();
        formatter.write_str(&parts.join(", "))
    }
}

/// # Safety
/// `fill` must set both out-parameters to a list that outlives this call.
unsafe fn list(fill: impl FnOnce(*mut *const *const c_void, *mut usize) -> OrtStatusPtr) -> Option<Vec<*const c_void>> {
    let (mut items, mut count) = (std::ptr::null(), 0);
    succeeded(fill(&mut items, &mut count))?;
    // SAFETY: the caller vouches for `items` and `count`.
    (!items.is_null()).then(|| unsafe { std::slice::from_raw_parts(items, count) }.to_vec()).or(Some(Vec::new()))
}

/// # Safety
/// `fill` must set the out-parameter to a text that ends in NUL and outlives this call.
unsafe fn text(fill: impl FnOnce(*mut *const c_char) -> OrtStatusPtr) -> Option<String> {
    let mut text = std::ptr::null();
    succeeded(fill(&mut text))?;
    // SAFETY: the caller vouches for the text.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

fn succeeded(status: OrtStatusPtr) -> Option<()> {
    if status.0.is_null() {
        return Some(());
    }
    // SAFETY: a status that is not null is owned by the caller and released once.
    unsafe { (ort::api().ReleaseStatus)(status.0) };
    None
}
