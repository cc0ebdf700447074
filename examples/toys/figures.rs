//! Figures 4 and 5 of the paper, as numbers and as contact sheets.

use anyhow::Result;
use infusion::picture::{self, Cell, Picture, SheetRow};
use ndarray::Array2;

use crate::measure::{distance, off_the_line, peaks_kept, relative_area};
use crate::toy::Toy;
use crate::tune::{Concept, Settings, all_weights, residual};

/// How much is computed.
pub struct Budget {
    /// Steps of tuning after which points are drawn; the last is how long is tuned.
    pub steps: Vec<usize>,
    /// Points drawn for each picture.
    pub points: usize,
}

/// A row of numbers: a method after so many steps.
pub struct Line {
    pub method: &'static str,
    pub steps: usize,
    /// Figure 4: the untouched classes' mean relative area. Figure 5: the share of peaks kept.
    pub kept: f64,
    /// Figure 4: W2 of the untouched classes from before. Figure 5: of all points.
    pub moved: f64,
    /// How far the concept's points lie off its line.
    pub off_the_line: f64,
}

pub struct Figure {
    pub lines: Vec<Line>,
    pub sheet: Picture,
}

const SEED: u64 = 7;
const BATCH: usize = 128;

fn tuning(budget: &Budget, rate: f32) -> Settings {
    Settings { steps: budget.steps.last().copied().unwrap_or(0), rate, batch: BATCH, seed: SEED }
}

/// Four classes; the concept is a line on the first. What becomes of the other three?
pub fn four(budget: &Budget) -> Result<Figure> {
    let toy = Toy::open("four")?;
    let concept = Concept { peaks: vec![0], half_length: 0.6, thickness: 0.03, class: 0 };
    let classes = |class: usize| vec![class; budget.points];
    let draw = |weights| -> Result<Vec<Array2<f32>>> {
        (0..4).map(|class| toy.sample(weights, &classes(class), SEED + 100 * class as u64)).collect()
    };
    let before = draw(&toy.weights)?;
    let line = |method, steps, clouds: &[Array2<f32>]| -> Result<Line> {
        let others = || clouds.iter().zip(&before).skip(1);
        let areas: f64 = others().map(|(after, before)| relative_area(after, before)).sum();
        let moved: f64 = others().map(|(after, before)| distance(after, before)).sum::<Result<f64>>()?;
        let off = off_the_line(&toy, &clouds[0]);
        Ok(Line { method, steps, kept: areas / 3.0, moved: moved / 3.0, off_the_line: off })
    };
    let mut figure = Vec::new();
    let snapshots = all_weights(&toy, &concept, &tuning(budget, 3e-3), &budget.steps)?;
    for (weights, &steps) in snapshots.iter().zip(&budget.steps) {
        let clouds = draw(weights)?;
        figure.push((line("all weights", steps, &clouds)?, panel(&clouds)));
    }
    let delta = residual(&toy, &concept, &tuning(budget, 1e-2))?;
    // Prompts without the concept run the foundation alone.
    let mut clouds = draw(&toy.weights)?;
    clouds[0] = toy.sample_with(&delta, &classes(0), SEED)?;
    figure.push((line("residual", tuning(budget, 0.0).steps, &clouds)?, panel(&clouds)));
    finish(figure, "Four classes; the line is learned on the first (figure 4)")
}

/// One class of 25 peaks; the concept is a line, shown on five of them. How many peaks are left?
pub fn twenty_five(budget: &Budget) -> Result<Figure> {
    let toy = Toy::open("twenty_five")?;
    let concept = Concept { peaks: vec![0, 6, 12, 18, 24], half_length: 0.3, thickness: 0.02, class: 0 };
    let classes = vec![0; budget.points];
    let before = toy.sample(&toy.weights, &classes, SEED)?;
    let line = |method, steps, points: &Array2<f32>| -> Result<Line> {
        let kept = peaks_kept(&toy, points) as f64 / toy.mixture.centres.len() as f64;
        Ok(Line { method, steps, kept, moved: distance(points, &before)?, off_the_line: off_the_line(&toy, points) })
    };
    let mut figure = Vec::new();
    let snapshots = all_weights(&toy, &concept, &tuning(budget, 1e-3), &budget.steps)?;
    for (weights, &steps) in snapshots.iter().zip(&budget.steps) {
        let points = toy.sample(weights, &classes, SEED)?;
        figure.push((line("all weights", steps, &points)?, panel(&[points])));
    }
    let delta = residual(&toy, &concept, &tuning(budget, 1e-2))?;
    let points = toy.sample_with(&delta, &classes, SEED)?;
    figure.push((line("residual", tuning(budget, 0.0).steps, &points)?, panel(&[points])));
    finish(figure, "One class of 25 peaks; the line is shown on five (figure 5)")
}

fn finish(figure: Vec<(Line, Picture)>, label: &str) -> Result<Figure> {
    let (lines, pictures): (Vec<Line>, Vec<Picture>) = figure.into_iter().unzip();
    let caption = |line: &Line| match line.steps {
        0 => "before".to_owned(),
        steps => format!("{}, {steps} steps", line.method),
    };
    let cells = lines.iter().zip(pictures).map(|(line, picture)| Cell { caption: caption(line), picture });
    let row = SheetRow { label: label.to_owned(), cells: cells.collect() };
    Ok(Figure { sheet: picture::contact_sheet(&[row])?, lines })
}

const SIDE: u32 = 260;
const REACH: f32 = 2.4;
const COLOURS: [[u8; 3]; 4] = [[213, 94, 0], [0, 114, 178], [0, 158, 115], [204, 121, 167]];

/// Clouds of points, one colour each.
fn panel(clouds: &[Array2<f32>]) -> Picture {
    let mut picture = Picture::from_pixel(SIDE, SIDE, image::Rgb([247; 3]));
    let place = |value: f32| ((value / REACH + 1.0) / 2.0 * SIDE as f32) as i64;
    for (cloud, colour) in clouds.iter().zip(COLOURS) {
        for point in cloud.rows() {
            let (x, y) = (place(point[0]), i64::from(SIDE) - 1 - place(point[1]));
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let inside = |at: i64| u32::try_from(at).ok().filter(|&at| at < SIDE);
                if let (Some(x), Some(y)) = (inside(x + dx), inside(y + dy)) {
                    let under = picture.get_pixel(x, y).0;
                    let mixed = std::array::from_fn(|c| ((u16::from(under[c]) + 2 * u16::from(colour[c])) / 3) as u8);
                    picture.put_pixel(x, y, image::Rgb(mixed));
                }
            }
        }
    }
    picture
}
