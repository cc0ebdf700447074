use super::{Context, Provider, ProviderKind, ProviderSpec, REGISTRY};
use crate::runtime::library::in_use;
use crate::runtime::{Result, SessionOptions};

/// Which provider runs, and why.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The provider, never [`ProviderKind::Auto`].
    pub spec: ProviderSpec,
    /// Why it was chosen, a sentence for the user.
    pub reason: String,
}

/// TensorRT is not among them: its first start takes minutes, so it is for those who ask for it.
/// Neither is OpenVINO, whose default device is the processor.
const PREFERENCE: [ProviderKind; 3] = [ProviderKind::Cuda, ProviderKind::DirectMl, ProviderKind::CoreMl];

/// The providers that the library was built with; loads it by the default search if need be.
///
/// # Errors
/// The library cannot be loaded.
pub fn available() -> Result<Vec<&'static Provider>> {
    in_use()?;
    Ok(REGISTRY.into_iter().filter(|provider| (provider.compiled_in)()).collect())
}

/// Resolves `auto` to the first provider that registers on this machine; leaves others as they are.
///
/// # Errors
/// The library cannot be loaded.
pub fn choose(spec: &ProviderSpec) -> Result<Choice> {
    in_use()?;
    if spec.kind != ProviderKind::Auto {
        return Ok(Choice { spec: spec.clone(), reason: "asked for".to_owned() });
    }
    let mut refusals = Vec::new();
    for kind in PREFERENCE {
        let candidate = ProviderSpec::new(kind);
        match try_to_register(&candidate) {
            Ok(()) => {
                return Ok(Choice { spec: candidate, reason: "the fastest that works on this machine".to_owned() });
            }
            Err(error) => refusals.push(error.to_string()),
        }
    }
    let names: Vec<String> = PREFERENCE.iter().map(|kind| ProviderSpec::new(*kind).to_string()).collect();
    let reason = format!("none of {} can be used here:\n  {}", names.join(", "), refusals.join("\n  "));
    Ok(Choice { spec: ProviderSpec::new(ProviderKind::Cpu), reason })
}

fn try_to_register(spec: &ProviderSpec) -> Result<()> {
    let builder = ort::session::Session::builder(&in_use()?.environment)?;
    let options = SessionOptions::default();
    let context = Context { options: &options, cache_key: "", ranges: &[], weight_bytes: 0 };
    spec.register(builder, &context).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_always_finds_something_and_says_why() {
        let choice = choose(&ProviderSpec::new(ProviderKind::Auto)).unwrap();
        assert_ne!(choice.spec.kind, ProviderKind::Auto);
        if choice.spec.kind == ProviderKind::Cpu {
            assert!(choice.reason.contains("cuda") && choice.reason.contains("coreml"), "{}", choice.reason);
        }
    }

    #[test]
    fn what_is_not_built_in_is_refused_by_name_with_the_way_out() {
        let present: Vec<_> = available().unwrap().iter().map(|provider| provider.kind).collect();
        assert!(present.contains(&ProviderKind::Cpu));
        for provider in REGISTRY.iter().filter(|provider| !present.contains(&provider.kind)) {
            let error = try_to_register(&ProviderSpec::new(provider.kind)).unwrap_err().to_string();
            assert!(error.contains(provider.ep_name) && error.contains(provider.needs), "{error}");
        }
    }
}
