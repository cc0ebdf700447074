//! The text that A1111's web UI writes into its pictures, and that most tools of the field read:
//!
//! ```text
//! a photo of a ball
//! Negative prompt: blurry
//! Steps: 50, Sampler: DDIM, CFG scale: 8, Seed: 0, Size: 512x512, Model hash: 6ce0161689
//! ```

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;

const NEGATIVE: &str = "Negative prompt:";

/// A last line with fewer settings than this is part of the prompt, as A1111 reads it.
const FEWEST_SETTINGS: usize = 3;

/// Prompt, negative prompt and settings, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// What the picture shows; may have several lines.
    pub prompt: String,
    /// What it shall not show; empty if there is none.
    pub negative_prompt: String,
    /// Settings by A1111's names: `Steps`, `Sampler`, `CFG scale`, `Seed`, `Size`, `Model hash` and others.
    pub settings: IndexMap<String, String>,
}

impl Parameters {
    /// Adds a setting, in place of an older one of the same name.
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.settings.insert(name.to_owned(), value.to_string());
        self
    }

    /// A setting as a number or another type; `None` if it is absent or no such thing.
    pub fn get<T: FromStr>(&self, name: &str) -> Option<T> {
        self.settings.get(name)?.trim().parse().ok()
    }

    /// Width and height in pixels, from `Size: 512x768`.
    pub fn size(&self) -> Option<(u32, u32)> {
        let (width, height) = self.settings.get("Size")?.split_once('x')?;
        Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
    }

    /// Reads the text. Any text can be read: what is no setting is prompt.
    pub fn parse(text: &str) -> Self {
        let mut lines: Vec<&str> = text.trim().lines().collect();
        let mut parsed = Self::default();
        if let Some(last) = lines.pop() {
            parsed.settings = settings(last);
            if parsed.settings.len() < FEWEST_SETTINGS {
                parsed.settings.clear();
                lines.push(last);
            }
        }
        let (mut prompt, mut negative_prompt) = (Vec::new(), None::<Vec<&str>>);
        for line in lines.into_iter().map(str::trim) {
            match (&mut negative_prompt, line.strip_prefix(NEGATIVE)) {
                (Some(negative), rest) => negative.push(rest.unwrap_or(line).trim()),
                (None, Some(rest)) => negative_prompt = Some(vec![rest.trim()]),
                (None, None) => prompt.push(line),
            }
        }
        parsed.prompt = prompt.join("\n");
        parsed.negative_prompt = negative_prompt.unwrap_or_default().join("\n");
        parsed
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| format!("{name}: {}", quoted(value))).collect();
        let negative = format!("{NEGATIVE} {}", self.negative_prompt);
        let lines = [
            Some(self.prompt.as_str()),
            Some(negative.as_str()).filter(|_| !self.negative_prompt.is_empty()),
            Some(settings.join(", ").as_str()).filter(|line| !line.is_empty()),
        ]
        .map(|line| line.map(str::to_owned));
        f.write_str(&lines.into_iter().flatten().collect::<Vec<_>>().join("\n"))
    }
}

/// A value in JSON's quotes if it would be taken for several settings.
fn quoted(value: &str) -> String {
    match value.contains([',', ':', '\n', '"']) {
        true => serde_json::Value::from(value).to_string(),
        false => value.to_owned(),
    }
}

/// The `name: value` pairs of a line; a value is quoted or ends at a comma.
fn settings(line: &str) -> IndexMap<String, String> {
    let mut found = IndexMap::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (name, value, after) = match rest.split_once(':') {
            Some((name, after)) if is_name(name.trim()) => {
                let (value, after) = take_value(after.trim_start());
                (name.trim(), value, after)
            }
            _ => {
                rest = rest.split_once(',').map_or("", |(_, after)| after);
                continue;
            }
        };
        found.entry(name.to_owned()).or_insert(value);
        rest = after;
    }
    found
}

fn is_name(name: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ' ' | '-' | '/');
    name.chars().count() > 1
        && name.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        && name.chars().all(part_of_name)
}

/// A value, and what follows its comma.
fn take_value(text: &str) -> (String, &str) {
    if let Some(end) = closing_quote(text) {
        let (inside, after) = text.split_at(end + 1);
        let after = after.trim_start();
        if let (Ok(value), true) = (serde_json::from_str(inside), after.is_empty() || after.starts_with(',')) {
            return (value, after.strip_prefix(',').unwrap_or(after));
        }
    }
    let (value, after) = text.split_once(',').unwrap_or((text, ""));
    (value.trim().to_owned(), after)
}

/// Where the quotes that the text begins with end.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.strip_prefix('"')?.char_indices().find_map(|(place, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(place + 1)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Parameters {
        Parameters { prompt: "a photo of a ball".into(), negative_prompt: "blurry".into(), settings: IndexMap::new() }
            .with("Steps", 50)
            .with("Sampler", "DDIM")
            .with("CFG scale", 8)
            .with("Seed", 0)
            .with("Size", "512x512")
            .with("Model hash", "6ce0161689")
    }

    const TEXT: &str = "a photo of a ball\nNegative prompt: blurry\n\
        Steps: 50, Sampler: DDIM, CFG scale: 8, Seed: 0, Size: 512x512, Model hash: 6ce0161689";

    #[test]
    fn written_and_read_as_a1111_does() {
        assert_eq!(sample().to_string(), TEXT);
        assert_eq!(Parameters::parse(TEXT), sample());
        assert_eq!(sample().size(), Some((512, 512)));
        assert_eq!(sample().get::<f32>("CFG scale"), Some(8.0));
        assert_eq!(sample().get::<u64>("Sampler"), None);
    }

    #[test]
    fn a_file_of_the_web_ui_is_read() {
        let text = "girl with an artist's beret, determined, blue eyes (desert:1.3)\nsecond line: yes, really\n\
            Negative prompt: ugly, fat\nobese\n\
            Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 965400086, Size: 512x768, \
            Model: sd-v1-5, Lora hashes: \"a: 12, b: \\\"34\\\"\", Version: v1.10.1";
        let parsed = Parameters::parse(text);
        assert_eq!(parsed.prompt.lines().count(), 2);
        assert_eq!(parsed.negative_prompt, "ugly, fat\nobese");
        assert_eq!(parsed.settings["Lora hashes"], "a: 12, b: \"34\"");
        assert_eq!(parsed.settings["Version"], "v1.10.1");
        assert_eq!(parsed.size(), Some((512, 768)));
    }

    #[test]
    fn a_text_without_settings_is_prompt() {
        let parsed = Parameters::parse("a ball, style: red");
        assert_eq!((parsed.prompt.as_str(), parsed.settings.len()), ("a ball, style: red", 0));
        assert_eq!(Parameters::parse(""), Parameters::default());
        assert_eq!(Parameters::parse("a ball\nNegative prompt: x").negative_prompt, "x");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,200}") {
            Parameters::parse(&text);
        }

        #[test]
        fn any_value_survives(value in "[ -~äß球]{0,40}") {
            let written = sample().with("Concepts", value.trim()).with("Version", "infusion 0.1.0");
            prop_assert_eq!(Parameters::parse(&written.to_string()), written);
        }
    }
}
