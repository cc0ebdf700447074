use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// A picture and what it shows.
#[derive(Clone, Debug)]
pub struct Pair {
    pub picture: PathBuf,
    pub caption: String,
}

/// A line of `metadata.jsonl`, under the names that datasets use.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "file", alias = "image", alias = "path")]
    file_name: PathBuf,
    #[serde(alias = "caption", alias = "prompt")]
    text: String,
}

/// The pairs of a folder of pictures: one JSON object a line in `captions`, or in the folder's `metadata.jsonl`.
pub fn read(folder: &Path, captions: Option<&Path>) -> Result<Vec<Pair>> {
    let path = captions.map_or_else(|| folder.join("metadata.jsonl"), Path::to_owned);
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("{}: a line {{\"file_name\": \"a.png\", \"text\": \"a red ball\"}} for each picture", path.display())
    })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let pair = |(number, line): (usize, &str)| {
        let line: Line =
            serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), number + 1))?;
        Ok(Pair { picture: folder.join(line.file_name), caption: line.text })
    };
    let pairs = lines.map(pair).collect::<Result<Vec<_>>>()?;
    if pairs.is_empty() {
        bail!("{}: holds no pairs", path.display());
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_by_the_names_of_several_datasets() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("metadata.jsonl");
        std::fs::write(
            &file,
            "{\"file_name\":\"a.png\",\"text\":\"one\"}\n\n{\"image\":\"b.png\",\"caption\":\"two\"}\n",
        )
        .unwrap();
        let pairs = read(folder.path(), None).unwrap();
        assert_eq!(pairs[1].picture, folder.path().join("b.png"));
        assert_eq!([&pairs[0].caption, &pairs[1].caption], ["one", "two"]);
        std::fs::write(&file, "{\"file_name\":\"a.png\"}\n").unwrap();
        assert!(format!("{:#}", read(folder.path(), None).unwrap_err()).contains("line 1"));
        std::fs::write(&file, "").unwrap();
        assert!(read(folder.path(), None).unwrap_err().to_string().contains("no pairs"));
    }
}
