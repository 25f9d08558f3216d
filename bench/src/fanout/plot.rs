//! What was measured, as a picture: one panel of bars for each table.

use std::path::Path;

use plotters::prelude::*;

use super::figures::{Findings, Spread, cpu_at, memory, saturation};
use super::options::Options;
use super::servers::Contender;
use crate::Result;

const WIDTH: u32 = 900;
const BAR: i32 = 22;
const HEAD: i32 = 40;
/// Where bars begin, and the longest of them.
const LEFT: i32 = 330;
const LONGEST: f64 = 440.0;
const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const THEIRS: RGBColor = RGBColor(0xb8, 0xbe, 0xc6);

/// Bars under a heading.
struct Panel {
    heading: String,
    digits: usize,
    bars: Vec<(Contender, Spread)>,
}

impl Panel {
    fn height(&self) -> i32 {
        HEAD + BAR * self.bars.len() as i32
    }
}

/// Draws all panels, one below the other.
pub(crate) fn draw(findings: &Findings, options: &Options, file: &Path) -> Result<()> {
    let panels = panels(findings, options);
    let height = panels.iter().map(Panel::height).sum::<i32>() + HEAD / 2;
    let root = SVGBackend::new(file, (WIDTH, height.max(HEAD).cast_unsigned())).into_drawing_area();
    root.fill(&WHITE)?;
    let mut top = 0;
    for panel in &panels {
        let most = panel.bars.iter().map(|(_, spread)| spread.most).fold(f64::MIN_POSITIVE, f64::max);
        root.draw(&Text::new(panel.heading.clone(), (10, top + 16), ("sans-serif", 20)))?;
        for (row, (contender, spread)) in panel.bars.iter().enumerate() {
            let y = top + HEAD + BAR * row as i32;
            let at = |figure: f64| LEFT + (figure / most * LONGEST) as i32;
            let color = if contender.is_nuncio() { OURS } else { THEIRS };
            let name = contender.title().replace("**", "");
            root.draw(&Text::new(name, (10, y + 2), ("sans-serif", 16)))?;
            root.draw(&Rectangle::new([(LEFT, y), (at(spread.median), y + BAR - 6)], color.filled()))?;
            let middle = y + (BAR - 6) / 2;
            root.draw(&PathElement::new([(at(spread.least), middle), (at(spread.most), middle)], BLACK))?;
            let figure = format!("{:.*}", panel.digits, spread.median);
            root.draw(&Text::new(figure, (at(spread.most) + 8, y + 2), ("sans-serif", 16)))?;
        }
        top += panel.height();
    }
    Ok(root.present()?)
}

fn panels(findings: &Findings, options: &Options) -> Vec<Panel> {
    let all = options.contenders();
    let panel = |heading: String, digits, figure: &dyn Fn(Contender) -> Option<Spread>| {
        let bars = all.iter().filter_map(|one| Some((*one, figure(*one)?))).collect();
        Panel { heading, digits, bars }
    };
    let mut panels: Vec<Panel> = Vec::new();
    for rate in &options.rates {
        let heading = format!("CPU per delivery as a ratio to the floor, {rate} events/s (less is better)");
        panels.push(panel(heading, 2, &|one| findings.ratio(one, Contender::Floor, cpu_at(*rate))));
    }
    let heading = "Deliveries per second at most (more is better)".to_owned();
    panels.push(panel(heading, 0, &|one| findings.spread(one, saturation)));
    let heading = "KB of memory per idle subscribed connection (less is better)".to_owned();
    panels.push(panel(heading, 1, &|one| findings.spread(one, memory)));
    panels.retain(|panel| !panel.bars.is_empty());
    panels
}
