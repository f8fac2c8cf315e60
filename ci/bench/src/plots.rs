// SPDX-License-Identifier: MIT OR Apache-2.0
//! Noise as pictures: histograms and time lines, as SVG.

use anyhow::{anyhow, Result};
use plotters::prelude::*;

use crate::results::{Sample, System};

const WIDTH: u32 = 860;
/// Points of a time line; of more samples the longest of each stretch are shown.
const POINTS: usize = 800;

fn colour(system: System) -> RGBColor {
    // Okabe and Ito's, which the colour-blind can tell apart.
    match system {
        System::Linux => RGBColor(230, 159, 0),
        System::LinuxIsolated => RGBColor(0, 114, 178),
        System::Isle => RGBColor(0, 158, 115),
    }
}

/// How many of each length there were: bins of doubling width, each given by its lowest length in ns.
pub fn histogram(what: &str, systems: &[(System, Vec<(f64, f64)>)]) -> Result<String> {
    let bins = || systems.iter().flat_map(|(_, bins)| bins);
    let most = bins().map(|(_, count)| *count).fold(10.0, f64::max);
    let last = bins().map(|(lowest, _)| lowest.max(1.0) * 2.0).fold(1024.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 320)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((1.0..last).log_scale(), (0.5..most * 2.0).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc(what)
            .y_desc("how often")
            .x_label_formatter(&|ns| time(*ns))
            .y_label_formatter(&|count| format!("{count:.0}"))
            .draw()
            .map_err(failed)?;
        for (system, bins) in systems {
            let style = colour(*system).stroke_width(2);
            // Each bin a level line at its count, dropping to the bottom where bins are empty.
            let outline = bins.iter().flat_map(|(lowest, count)| {
                let from = lowest.max(1.0);
                let to = if *lowest < 1.0 { 2.0 } else { lowest * 2.0 };
                [(from, 0.5), (from, *count), (to, *count), (to, 0.5)]
            });
            chart
                .draw_series(LineSeries::new(outline, style))
                .map_err(failed)?
                .label(system.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart.configure_series_labels().background_style(WHITE).border_style(BLACK.mix(0.3)).draw().map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// When there was something, and how long it was: one strip for each system, all to the same scale.
pub fn time_line(what: &str, systems: &[(System, Vec<Sample>)]) -> Result<String> {
    let points: Vec<_> = systems.iter().map(|(system, samples)| (*system, thin(samples))).collect();
    let all = || points.iter().flat_map(|(_, points)| points);
    let end = all().map(|(at, _)| *at).fold(1.0, f64::max);
    let highest = all().map(|(_, length)| *length).fold(10.0, f64::max) * 2.0;
    let lowest = all().map(|(_, length)| *length).fold(highest / 20.0, f64::min).max(1.0) / 2.0;
    let mut svg = String::new();
    {
        let height = 170 * points.len().max(1) as u32;
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        for ((system, points), strip) in points.iter().zip(area.split_evenly((points.len(), 1))) {
            let mut chart = ChartBuilder::on(&strip)
                .margin(8)
                .caption(system.name(), ("sans-serif", 14))
                .x_label_area_size(36)
                .y_label_area_size(60)
                .build_cartesian_2d(0.0..end, (lowest..highest).log_scale())
                .map_err(failed)?;
            chart
                .configure_mesh()
                .disable_mesh()
                .x_desc("seconds")
                .y_desc(what)
                .x_label_formatter(&|seconds| format!("{seconds:.0}"))
                .y_label_formatter(&|ns| time(*ns))
                .y_labels(5)
                .draw()
                .map_err(failed)?;
            let style = colour(*system).mix(0.7).filled();
            chart
                .draw_series(points.iter().map(|(at, length)| Circle::new((*at, *length), 2, style)))
                .map_err(failed)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// Seconds and nanoseconds of at most `POINTS` samples, those that stand out.
fn thin(samples: &[Sample]) -> Vec<(f64, f64)> {
    let stretch = samples.len().div_ceil(POINTS).max(1);
    samples
        .chunks(stretch)
        .filter_map(|samples| samples.iter().max_by(|a, b| a.length_ns.total_cmp(&b.length_ns)))
        .map(|sample| (sample.at_ns / 1e9, sample.length_ns.max(1.0)))
        .collect()
}

fn time(ns: f64) -> String {
    match ns {
        ns if ns >= 1e9 => format!("{:.0} s", ns / 1e9),
        ns if ns >= 1e6 => format!("{:.0} ms", ns / 1e6),
        ns if ns >= 1e3 => format!("{:.0} µs", ns / 1e3),
        ns => format!("{ns:.0} ns"),
    }
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_a_line_for_each_system() {
        let systems = [
            (System::Linux, vec![(0.0, 5.0), (16.0, 1e6), (4096.0, 3.0)]),
            (System::Isle, vec![(16.0, 1e6)]),
            (System::LinuxIsolated, vec![]),
        ];
        let svg = histogram("gap", &systems).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("linux_isolated") && svg.contains("isle") && svg.contains("how often"));
    }

    #[test]
    fn a_time_line_shows_the_longest_of_many() {
        let mut samples = vec![Sample { at_ns: 0.0, length_ns: 100.0 }; 100_000];
        samples[54_321] = Sample { at_ns: 5e9, length_ns: 777_000.0 };
        let thinned = thin(&samples);
        assert!(thinned.len() <= POINTS);
        assert!(thinned.contains(&(5.0, 777_000.0)));
        let svg = time_line("length", &[(System::Linux, samples), (System::Isle, vec![])]).unwrap();
        assert!(svg.matches("<circle").count() <= POINTS);
        assert!(svg.contains("isle"));
    }

    #[test]
    fn times_have_readable_units() {
        assert_eq!([1.0, 2e3, 5e6, 3e9].map(time), ["1 ns", "2 µs", "5 ms", "3 s"]);
    }
}
