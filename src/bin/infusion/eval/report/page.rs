use std::fmt::Write;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use infusion::picture::{self, Picture, PictureText};
use serde_json::Value;

use super::Report;
use super::measures::Measure;
use super::pictures::Scene;

const STYLE: &str = include_str!("style.css");

/// The whole page; everything that it shows is in it.
pub fn html(report: &Report) -> Result<String> {
    let mut page = String::new();
    let names = report.concepts.iter().filter_map(|it| it["name"].as_str());
    let title = names.map(|name| format!("<{name}>")).collect::<Vec<_>>().join(", ");
    let title = escape(&title);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}: concept report</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    )?;
    concepts(&mut page, &report.concepts)?;
    measures(&mut page, &report.measures)?;
    page.push_str(
        "<h2>Pictures</h2>\n<p class=\"note\">Left: the foundation, the model as it is. Middle: the same noise \
                   with the concept. Right: where the foundation attends to the concept's words.</p>\n",
    );
    for scene in &report.scenes {
        picture_row(&mut page, scene)?;
    }
    page.push_str("<h2>Settings</h2>\n");
    pairs(&mut page, &report.settings)?;
    page.push_str("<h2>Versions</h2>\n");
    pairs(&mut page, &report.versions)?;
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(page)
}

fn concepts(page: &mut String, concepts: &[Value]) -> Result<()> {
    page.push_str("<div class=\"cards\">\n");
    for concept in concepts {
        let text = |key: &str| concept[key].as_str().map_or_else(|| plain(&concept[key]), str::to_owned);
        let size = concept["bytes"].as_u64().map_or("not stored".to_owned(), |bytes| format!("{bytes} bytes"));
        write!(page, "<section class=\"card\">\n<h3>&lt;{}&gt;</h3>\n<dl>\n", escape(&text("name")))?;
        for (key, value) in [
            ("a kind of", text("class")),
            ("strength", text("strength")),
            ("file", text("file")),
            ("size", format!("{size}, {}", text("precision"))),
            ("numbers", text("parameters")),
        ] {
            entry(page, key, &value)?;
        }
        for (key, value) in concept["training"].as_object().into_iter().flatten() {
            entry(page, key, &plain(value))?;
        }
        page.push_str("</dl>\n</section>\n");
    }
    page.push_str("</div>\n");
    Ok(())
}

fn measures(page: &mut String, measures: &[Measure]) -> Result<()> {
    page.push_str("<h2>Measures</h2>\n");
    if measures.is_empty() {
        page.push_str(
            "<p class=\"note\">None: give --clip and --dino, or --include what other commands measured.</p>\n",
        );
        return Ok(());
    }
    page.push_str(
        "<div class=\"wide\"><table>\n<thead><tr><th>Measure</th><th>Of</th><th class=\"number\">Value</th>\
         <th class=\"number\">95 % interval</th><th class=\"number\">Count</th><th>What it rests on</th></tr></thead>\n<tbody>\n",
    );
    for measure in measures {
        let interval = measure.interval.map_or("–".to_owned(), |half| format!("± {}", number(half)));
        writeln!(
            page,
            "<tr><th>{}</th><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{interval}</td>\
             <td class=\"number\">{}</td><td class=\"detail\">{}</td></tr>",
            escape(&measure.name),
            escape(&measure.subject),
            number(measure.value),
            measure.count,
            escape(&measure.detail)
        )?;
    }
    page.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

fn picture_row(page: &mut String, scene: &Scene) -> Result<()> {
    write!(
        page,
        "<section class=\"scene\">\n<h3>{} <span class=\"seed\">seed {}</span></h3>\n<div class=\"row\">\n",
        escape(&scene.prompt),
        scene.seed
    )?;
    figure(page, &scene.foundation, "foundation", &scene.text)?;
    figure(page, &scene.customised, "with the concept", &scene.prompt)?;
    for (name, map) in &scene.heat_maps {
        figure(page, map, &format!("attention to <{name}>"), &format!("heat map of {name}"))?;
    }
    page.push_str("</div>\n</section>\n");
    Ok(())
}

fn figure(page: &mut String, shown: &Picture, caption: &str, alt: &str) -> Result<()> {
    let png = STANDARD.encode(picture::encode(shown, &PictureText::default())?);
    let (width, height) = shown.dimensions();
    let (alt, caption) = (escape(alt), escape(caption));
    writeln!(
        page,
        "<figure><img src=\"data:image/png;base64,{png}\" width=\"{width}\" height=\"{height}\" alt=\"{alt}\">\
         <figcaption>{caption}</figcaption></figure>"
    )?;
    Ok(())
}

fn pairs(page: &mut String, object: &Value) -> Result<()> {
    page.push_str("<dl class=\"pairs\">\n");
    for (key, value) in object.as_object().into_iter().flatten() {
        entry(page, key, &plain(value))?;
    }
    page.push_str("</dl>\n");
    Ok(())
}

fn entry(page: &mut String, key: &str, value: &str) -> Result<()> {
    writeln!(page, "<dt>{}</dt><dd>{}</dd>", escape(&key.replace('_', " ")), escape(value))?;
    Ok(())
}

/// A value as a reader expects it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "not known".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn number(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "" };
    let value = value.abs();
    let digits = match value {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.3e}"),
        size if size >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    };
    format!("{sign}{digits}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup_and_numbers_are_short() {
        assert_eq!(escape("<b>\"&\""), "&lt;b&gt;&quot;&amp;&quot;");
        assert_eq!([0.0, -0.25, 123.456, 1e-7].map(number), ["0", "−0.2500", "123.5", "1.000e-7"]);
    }
}
