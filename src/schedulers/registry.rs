use super::{
    Error, Result, Scheduler, SchedulerConfig, ddim, ddpm, dpmpp_2m, dpmpp_sde, euler, euler_ancestral, heun, lcm, lms,
    unipc,
};

/// A scheduler that can be asked for by name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name on the command line.
    pub name: &'static str,
    /// The name in A1111's `Sampler:`.
    pub label: &'static str,
    /// One line for help texts.
    pub about: &'static str,
    build: fn(&SchedulerConfig) -> Result<Box<dyn Scheduler>>,
}

impl Entry {
    /// Builds the scheduler for a model.
    ///
    /// # Errors
    /// When an option of `config` is impossible or not supported.
    pub fn build(&self, config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
        (self.build)(config)
    }
}

/// Every scheduler; the first is the default.
pub const SCHEDULERS: &[Entry] = &[
    Entry { name: "ddim", label: "DDIM", about: "deterministic (eta = 0), the paper's", build: ddim::build },
    Entry { name: "ddpm", label: "DDPM", about: "stochastic, for many steps", build: ddpm::build },
    Entry { name: "euler", label: "Euler", about: "first order in sigma", build: euler::build },
    Entry { name: "euler_a", label: "Euler a", about: "ancestral: stochastic Euler", build: euler_ancestral::build },
    Entry { name: "heun", label: "Heun", about: "second order, two evaluations a step", build: heun::build },
    Entry { name: "dpmpp_2m", label: "DPM++ 2M", about: "second order, good from 20 steps", build: dpmpp_2m::build },
    Entry {
        name: "dpmpp_2m_karras",
        label: "DPM++ 2M Karras",
        about: "the same on Karras's sigmas",
        build: |config| dpmpp_2m::build(&with_karras(config)),
    },
    Entry {
        name: "dpmpp_2m_sde",
        label: "DPM++ 2M SDE",
        about: "its stochastic form, one evaluation a step",
        build: |config| dpmpp_2m::build(&with_sde(config)),
    },
    Entry {
        name: "dpmpp_2m_sde_karras",
        label: "DPM++ 2M SDE Karras",
        about: "the same on Karras's sigmas",
        build: |config| dpmpp_2m::build(&with_karras(&with_sde(config))),
    },
    Entry {
        name: "dpmpp_sde",
        label: "DPM++ SDE",
        about: "stochastic, two evaluations a step",
        build: dpmpp_sde::build,
    },
    Entry {
        name: "dpmpp_sde_karras",
        label: "DPM++ SDE Karras",
        about: "the same on Karras's sigmas",
        build: |config| dpmpp_sde::build(&with_karras(config)),
    },
    Entry { name: "lms", label: "LMS", about: "linear multistep of order four", build: lms::build },
    Entry {
        name: "lms_karras",
        label: "LMS Karras",
        about: "the same on Karras's sigmas",
        build: |config| lms::build(&with_karras(config)),
    },
    Entry { name: "unipc", label: "UniPC", about: "predictor and corrector, good from 10 steps", build: unipc::build },
    Entry { name: "lcm", label: "LCM", about: "for latent consistency models, 1 to 8 steps", build: lcm::build },
];

/// The entry with this name or A1111 label, in any case; blanks, `-` and `_` are alike.
///
/// # Errors
/// When there is none; the error lists all names.
pub fn find(name: &str) -> Result<&'static Entry> {
    let wanted = plain(name);
    let known = || SCHEDULERS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    SCHEDULERS
        .iter()
        .find(|entry| plain(entry.name) == wanted || plain(entry.label) == wanted)
        .ok_or_else(|| Error::Unknown { name: name.to_owned(), known: known() })
}

/// Builds the scheduler of this name for a model.
///
/// # Errors
/// When there is none of that name, or an option of `config` is impossible or not supported.
pub fn build(name: &str, config: &SchedulerConfig) -> Result<Box<dyn Scheduler>> {
    find(name)?.build(config)
}

fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_").replace("dpm++", "dpmpp")
}

fn with_karras(config: &SchedulerConfig) -> SchedulerConfig {
    SchedulerConfig { use_karras_sigmas: Some(true), ..config.clone() }
}

fn with_sde(config: &SchedulerConfig) -> SchedulerConfig {
    SchedulerConfig { algorithm_type: Some("sde-dpmsolver++".to_owned()), ..config.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_lead_to_the_same_entry() {
        for entry in SCHEDULERS {
            assert_eq!(find(entry.name).unwrap().name, entry.name);
            assert_eq!(find(entry.label).unwrap().name, entry.name);
            assert_eq!(find(&entry.label.to_uppercase()).unwrap().name, entry.name);
            assert!(entry.build(&SchedulerConfig::stable_diffusion()).is_ok(), "{}", entry.name);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = find("plms").unwrap_err().to_string();
        assert!(error.contains("'plms'") && error.contains("ddim, ddpm, euler"), "{error}");
    }
}
