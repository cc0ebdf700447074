/// How many threads sessions share unless the user says otherwise: one for each
/// physical core that this process may use (two threads of one core slow matrix
/// products down).
pub(super) fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    physical_cores().map_or(allowed, |cores| cores.clamp(1, allowed))
}

/// Distinct sets of sibling threads, where Linux lists them.
fn physical_cores() -> Option<usize> {
    let cpus = std::fs::read_dir("/sys/devices/system/cpu").ok()?;
    let siblings: std::collections::HashSet<String> = cpus
        .filter_map(Result::ok)
        .filter_map(|cpu| std::fs::read_to_string(cpu.path().join("topology/thread_siblings_list")).ok())
        .collect();
    (!siblings.is_empty()).then_some(siblings.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_what_the_process_may_use() {
        let threads = default_threads();
        assert!((1..=std::thread::available_parallelism().unwrap().get()).contains(&threads));
    }
}
