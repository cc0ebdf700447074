use image::Rgb;

use super::font::{CELL, LINE, Pen, fill};
use super::{Error, Picture, Result};

const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([24; 3]);
const GRID: Rgb<u8> = Rgb([222; 3]);

/// Okabe and Ito's colours, told apart by colour-blind readers too.
const COLOURS: [Rgb<u8>; 6] = [
    Rgb([0, 114, 178]),
    Rgb([213, 94, 0]),
    Rgb([0, 158, 115]),
    Rgb([204, 121, 167]),
    Rgb([230, 159, 0]),
    Rgb([86, 180, 233]),
];

const PEN: Pen = Pen { scale: 1, colour: INK };
const STROKE: f64 = 1.6;
const LEFT: u32 = 80;
const RIGHT: u32 = 16;
const TOP: u32 = 28;
const BOTTOM: u32 = 40;
const SMALLEST: (u32, u32) = (240, 160);
const LARGEST: u32 = 8192;

/// How the values of an axis are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// By their logarithm; values of 0 and below are left out.
    Logarithmic,
}

/// A line of a plot.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// (x, y) in order; a point that is not finite interrupts the line.
    pub points: Vec<(f64, f64)>,
}

/// A line plot, such as the loss over the steps of a training.
#[derive(Clone, Debug, Default)]
pub struct LinePlot {
    /// Written above.
    pub title: String,
    /// Written below the horizontal axis.
    pub x_label: String,
    /// Written above the vertical axis.
    pub y_label: String,
    /// The vertical axis; the horizontal one is linear.
    pub y_scale: Scale,
    /// The lines.
    pub series: Vec<Series>,
}

impl LinePlot {
    /// Draws the plot.
    ///
    /// # Errors
    /// When no point can be shown, or the size is below 240 × 160 or above 8192.
    pub fn draw(&self, width: u32, height: u32) -> Result<Picture> {
        if width < SMALLEST.0 || height < SMALLEST.1 || width.max(height) > LARGEST {
            let (width, height) = (width as usize, height as usize);
            return Err(Error::Size { what: "a plot", width, height, reason: "from 240x160 to 8192x8192" });
        }
        let points = || self.series.iter().flat_map(|series| &series.points).filter_map(|&point| self.shown(point));
        let xs = Axis::around(points().map(|(x, _)| x), f64::from(LEFT), f64::from(width - RIGHT));
        let ys = Axis::around(points().map(|(_, y)| y), f64::from(height - BOTTOM), f64::from(TOP));
        let (Some(xs), Some(ys)) = (xs, ys) else { return Err(Error::Empty { what: "a plot" }) };

        let mut picture = Picture::from_pixel(width, height, PAPER);
        self.draw_frame(&mut picture, &xs, &ys);
        for (series, colour) in self.series.iter().zip(COLOURS.into_iter().cycle()) {
            self.draw_series(&mut picture, series, colour, &xs, &ys);
        }
        self.draw_legend(&mut picture);
        Ok(picture)
    }

    /// The point on the axes, unless it lies on none.
    fn shown(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        let y = match self.y_scale {
            Scale::Linear => y,
            Scale::Logarithmic => y.log10(),
        };
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }

    fn draw_frame(&self, picture: &mut Picture, xs: &Axis, ys: &Axis) {
        let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
        let (left, right) = (i64::from(LEFT), width - i64::from(RIGHT));
        let (top, bottom) = (i64::from(TOP), height - i64::from(BOTTOM));
        for tick in xs.ticks((right - left) as usize / 90) {
            let x = xs.place(tick) as i64;
            fill(picture, x..x + 1, top..bottom, GRID);
            let label = number(tick);
            let half = i64::from(PEN.width(&label) / 2);
            PEN.draw(picture, (x - half).min(width - 2 * half), bottom + 6, &label);
        }
        for tick in ys.ticks((bottom - top) as usize / 45) {
            let y = ys.place(tick) as i64;
            fill(picture, left..right, y..y + 1, GRID);
            let label = match self.y_scale {
                Scale::Linear => number(tick),
                Scale::Logarithmic => number(10f64.powf(tick)),
            };
            PEN.draw(picture, left - 6 - i64::from(PEN.width(&label)), y - 4, &label);
        }
        fill(picture, left..left + 1, top..bottom + 1, INK);
        fill(picture, left..right, bottom..bottom + 1, INK);
        PEN.draw(picture, 4, 4, &self.y_label);
        PEN.draw(picture, (width - i64::from(PEN.width(&self.title))) / 2, 4, &self.title);
        let x_label = (left + right - i64::from(PEN.width(&self.x_label))) / 2;
        PEN.draw(picture, x_label, height - i64::from(LINE) - 4, &self.x_label);
    }

    fn draw_series(&self, picture: &mut Picture, series: &Series, colour: Rgb<u8>, xs: &Axis, ys: &Axis) {
        let mut before = None;
        for &point in &series.points {
            let here = self.shown(point).map(|(x, y)| (xs.place(x), ys.place(y)));
            if let Some(here) = here {
                stroke(picture, before.unwrap_or(here), here, colour);
            }
            before = here;
        }
    }

    fn draw_legend(&self, picture: &mut Picture) {
        let named =
            || self.series.iter().zip(COLOURS.into_iter().cycle()).filter(|(series, _)| !series.name.is_empty());
        let widest = named().map(|(series, _)| PEN.width(&series.name)).max().unwrap_or(0);
        let left = i64::from(picture.width()) - i64::from(RIGHT + widest + 3 * CELL);
        for ((series, colour), row) in named().zip(0i64..) {
            let y = i64::from(TOP) + 6 + row * i64::from(LINE + 2);
            fill(picture, left..left + 16, y + 2..y + 5, colour);
            PEN.draw(picture, left + 20, y, &series.name);
        }
    }
}

/// Values between `least` and `most` laid out between two places in pixels.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// From the least to the largest value with a little air; `None` without values.
    fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let ends = values.fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(least, most)| (least.min(value), most.max(value))))
        });
        let (least, most) = ends?;
        let air = match most / 2.0 - least / 2.0 {
            0.0 => least.abs().max(1.0) * 0.05,
            half => half * 0.06,
        };
        Some(Self { least: (least - air).max(f64::MIN / 4.0), most: (most + air).min(f64::MAX / 4.0), from, to })
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value - self.least) / (self.most - self.least) * (self.to - self.from)
    }

    /// Round numbers, about `count` of them.
    fn ticks(&self, count: usize) -> Vec<f64> {
        let rough = (self.most - self.least) / count.max(2) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|&step| step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.least / step).ceil();
        (0..=2 * count + 4).map(|i| (first + i as f64) * step).take_while(|&tick| tick <= self.most).collect()
    }
}

/// A number in at most eight letters.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || size < 1e-12 {
        return "0".to_owned();
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.1e}");
    }
    let decimals = (3 - size.log10().floor() as i64).clamp(0, 6) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A straight line with soft edges: each pixel is covered by how near its middle lies.
fn stroke(picture: &mut Picture, from: (f64, f64), to: (f64, f64), colour: Rgb<u8>) {
    let reach = STROKE / 2.0 + 1.0;
    let range = |a: f64, b: f64, side: u32| {
        let low = (a.min(b) - reach).floor().clamp(0.0, f64::from(side)) as u32;
        low..(a.max(b) + reach).ceil().clamp(0.0, f64::from(side)) as u32
    };
    for y in range(from.1, to.1, picture.height()) {
        for x in range(from.0, to.0, picture.width()) {
            let distance = distance((f64::from(x) + 0.5, f64::from(y) + 0.5), from, to);
            let cover = (STROKE / 2.0 + 0.5 - distance).clamp(0.0, 1.0);
            let pixel = picture.get_pixel_mut(x, y);
            for (under, over) in pixel.0.iter_mut().zip(colour.0) {
                *under = (f64::from(*under) * (1.0 - cover) + f64::from(over) * cover).round() as u8;
            }
        }
    }
}

/// From a point to the nearest place on a line from `a` to `b`.
fn distance(point: (f64, f64), a: (f64, f64), b: (f64, f64)) -> f64 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { ((point.0 - a.0) * dx + (point.1 - a.1) * dy) / length } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    (point.0 - a.0 - along * dx).hypot(point.1 - a.1 - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> LinePlot {
        LinePlot {
            title: "loss".into(),
            x_label: "step".into(),
            y_label: "mse".into(),
            series: vec![Series { name: "train".into(), points }],
            ..Default::default()
        }
    }

    fn coloured(picture: &Picture) -> Vec<(u32, u32)> {
        let wanted = |(_, _, pixel): &(u32, u32, &Rgb<u8>)| **pixel == COLOURS[0];
        picture.enumerate_pixels().filter(wanted).map(|(x, y, _)| (x, y)).collect()
    }

    #[test]
    fn a_falling_line_falls() {
        let picture = plot((0..100).map(|i| (f64::from(i), 100.0 - f64::from(i))).collect()).draw(400, 240).unwrap();
        let line: Vec<_> = coloured(&picture).into_iter().filter(|&(x, _)| x < 300).collect();
        assert!(line.len() > 50);
        let height = |left: bool| {
            let end = if left { line.iter().min() } else { line.iter().max() };
            end.unwrap().1
        };
        assert!(height(true) < height(false), "the picture's rows count downwards");
    }

    #[test]
    fn every_kind_of_value_is_drawn_or_left_out() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let points =
                vec![(0.0, 1e-300), (1.0, f64::NAN), (2.0, 1e300), (3.0, f64::INFINITY), (4.0, -1.0), (5.0, 2.0)];
            let picture = LinePlot { y_scale: scale, ..plot(points) }.draw(400, 240).unwrap();
            assert!(!coloured(&picture).is_empty(), "{scale:?}");
        }
        for point in [(7.0, 7.0), (0.0, 0.0), (f64::MAX, f64::MIN), (1e-320, 1e-320)] {
            assert!(plot(vec![point]).draw(400, 240).is_ok(), "{point:?}");
        }
        assert!(plot(vec![(f64::MIN, f64::MAX), (f64::MAX, f64::MIN)]).draw(240, 160).is_ok());
    }

    #[test]
    fn nothing_to_show_and_odd_sizes_are_errors() {
        assert!(matches!(plot(vec![]).draw(400, 240), Err(Error::Empty { .. })));
        assert!(matches!(plot(vec![(0.0, f64::NAN)]).draw(400, 240), Err(Error::Empty { .. })));
        let negative = LinePlot { y_scale: Scale::Logarithmic, ..plot(vec![(0.0, -1.0)]) };
        assert!(matches!(negative.draw(400, 240), Err(Error::Empty { .. })));
        for (width, height) in [(10, 400), (400, 10), (u32::MAX, u32::MAX)] {
            assert!(matches!(plot(vec![(0.0, 1.0)]).draw(width, height), Err(Error::Size { .. })));
        }
    }

    #[test]
    fn numbers_are_short_and_ticks_round() {
        let shown = [0.0, 0.1 + 0.2, 1234.5, -0.02, 1e-7, 2.5e9].map(number);
        assert_eq!(shown, ["0", "0.3", "1234", "-0.02", "1.0e-7", "2.5e9"]);
        let axis = Axis { least: -0.3, most: 10.2, from: 0.0, to: 1.0 };
        assert_eq!(axis.ticks(5), [0.0, 5.0, 10.0]);
    }
}
