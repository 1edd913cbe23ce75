//! Files of a run: the report, and percentile distributions that the plotters of HdrHistogram read.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use super::model::{Latency, Report};
use crate::output;

impl Report {
    /// Writes `report.json` and a `.hgrm` for each histogram into a directory, which is made where it is not there.
    ///
    /// # Errors
    /// When a file cannot be written; the text names it.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let put = |name: &str, text: &str| output::write(&directory.join(name), text);
        put("report.json", &self.to_json())?;
        put("latency.hgrm", &hgrm(&self.latency))?;
        for hop in &self.hops {
            put(&format!("hop-{}.hgrm", hop.name()), &hgrm(&hop.latency))?;
        }
        for readers in self.slow_readers() {
            put(&format!("age-{}.hgrm", readers.kind), &hgrm(&readers.age))?;
        }
        Ok(())
    }
}

/// Returns the text form of HdrHistogram's `outputPercentileDistribution`, in milliseconds.
fn hgrm(latency: &Latency) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let ms = |ns: u64| ns as f64 / 1e6;
    for point in &latency.curve {
        let nines = if point.q < 1.0 { format!(" {:>14.2}", 1.0 / (1.0 - point.q)) } else { String::new() };
        let _ = writeln!(text, "{:>12.3} {:>14.12} {:>10}{nines}", ms(point.ns), point.q, point.count);
    }
    let s = &latency.summary;
    let _ = writeln!(text, "#[Mean    = {:>12.3}, Max         = {:>12.3}]", ms(s.mean_ns), ms(s.max_ns));
    let _ = writeln!(text, "#[Total count    = {:>12}]", s.count);
    text
}
