// SPDX-License-Identifier: MIT OR Apache-2.0
//! Medians, ratios and spreads.

use std::fmt::Write;

use serde::Serialize;

use crate::results::{Measured, Method, Results, System};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Lower,
    Higher,
}

/// A row of the report. What wasn't measured, or can't be computed, is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub name: String,
    pub method: Method,
    pub unit: String,
    pub better: Better,
    /// Medians of the runs.
    pub linux: Option<f64>,
    pub linux_isolated: Option<f64>,
    pub isle: Option<f64>,
    /// The isle's median by the better one of Linux's two.
    pub ratio: Option<f64>,
    /// Largest less smallest value, by the median: that of the system where it is largest.
    pub spread: Option<f64>,
}

impl Figure {
    pub fn of(&self, system: System) -> Option<f64> {
        match system {
            System::Linux => self.linux,
            System::LinuxIsolated => self.linux_isolated,
            System::Isle => self.isle,
        }
    }
}

/// Histograms are plotted, not compared.
pub fn is_bin(name: &str) -> bool {
    name.contains("_hist_")
}

/// One figure for each name and method, by method.
pub fn compare(results: &Results) -> Vec<Figure> {
    let mut figures: Vec<Figure> = results
        .measured
        .iter()
        .filter(|((_, name), _)| !is_bin(name))
        .map(|((method, name), measured)| figure(*method, name, measured))
        .collect();
    figures.sort_by_key(|figure| figure.method);
    figures
}

fn figure(method: Method, name: &str, measured: &Measured) -> Figure {
    let better = if measured.unit == "MB/s" { Better::Higher } else { Better::Lower };
    let [linux, linux_isolated, isle] = System::ALL.map(|system| median(measured.values(system)));
    let best = match (linux, linux_isolated, better) {
        (Some(one), Some(other), Better::Lower) => Some(one.min(other)),
        (Some(one), Some(other), Better::Higher) => Some(one.max(other)),
        (one, other, _) => one.or(other),
    };
    // Under icount a nanosecond is an instruction.
    let counted = method == Method::Icount && measured.unit == "ns";
    Figure {
        name: name.into(),
        method,
        unit: if counted { "instructions".into() } else { measured.unit.clone() },
        better,
        linux,
        linux_isolated,
        isle,
        ratio: isle.zip(best).filter(|(_, best)| *best > 0.0).map(|(isle, best)| isle / best),
        spread: System::ALL.into_iter().filter_map(|system| spread(measured.values(system))).reduce(f64::max),
    }
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some((sorted[last / 2] + sorted[last.div_ceil(2)]) / 2.0)
}

/// Unknown where there is one run only, or where it would be by zero.
fn spread(values: &[f64]) -> Option<f64> {
    let middle = median(values).filter(|middle| *middle != 0.0 && values.len() > 1)?;
    let largest = values.iter().copied().reduce(f64::max)?;
    let smallest = values.iter().copied().reduce(f64::min)?;
    Some((largest - smallest) / middle.abs())
}

/// For a terminal.
pub fn table(figures: &[Figure]) -> String {
    let mut text = String::new();
    let mut row = |cells: [&str; 8]| {
        let [method, name, linux, isolated, isle, unit, ratio, spread] = cells;
        // Writing to a string doesn't fail.
        let _ = writeln!(
            text,
            "{method:6} {name:27} {linux:>10} {isolated:>10} {isle:>10} {unit:12} {ratio:>6} {spread:>6}"
        );
    };
    row(["", "", "linux", "isolated", "isle", "", "ratio", "spread"]);
    for figure in figures {
        let [linux, isolated, isle] = System::ALL.map(|system| figure.of(system).map_or("missing".into(), number));
        let ratio = figure.ratio.map_or("-".into(), |ratio| format!("{ratio:.3}"));
        let spread = figure.spread.map_or("-".into(), |spread| format!("{:.1}%", spread * 100.0));
        row([figure.method.name(), &figure.name, &linux, &isolated, &isle, &figure.unit, &ratio, &spread]);
    }
    text
}

/// With as many decimals as tell something.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 1000.0 || size == value.trunc().abs() => 0,
        size if size >= 100.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(lines: &[(Method, System, &str)]) -> Results {
        let mut results = Results::default();
        for (method, system, text) in lines {
            results.add(*method, *system, text);
        }
        results
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn the_isle_is_compared_with_the_better_linux() {
        let figures = compare(&results(&[
            (Method::Icount, System::Linux, "getpid 227 ns"),
            (Method::Icount, System::LinuxIsolated, "getpid 515 ns"),
            (Method::Icount, System::Isle, "getpid 113.5 ns"),
            (Method::Mttcg, System::Linux, "stream_copy_t2 1000 MB/s"),
            (Method::Mttcg, System::LinuxIsolated, "stream_copy_t2 2000 MB/s"),
            (Method::Mttcg, System::Isle, "stream_copy_t2 3000 MB/s"),
        ]));
        assert_eq!((figures[0].ratio, figures[0].better), (Some(0.5), Better::Lower));
        assert_eq!(figures[0].unit, "instructions");
        assert_eq!((figures[1].ratio, figures[1].better), (Some(1.5), Better::Higher));
    }

    #[test]
    fn what_is_missing_is_null_and_not_fatal() {
        let figures = compare(&results(&[
            (Method::Mttcg, System::Linux, "a 2 ns\nb 1 ns\nzero 0 count/60s"),
            (Method::Mttcg, System::Isle, "a 1 ns\nzero 0 count/60s"),
        ]));
        assert_eq!((figures[0].linux_isolated, figures[0].ratio), (None, Some(0.5)));
        assert_eq!((figures[1].isle, figures[1].ratio, figures[1].spread), (None, None, None));
        assert_eq!((figures[2].isle, figures[2].ratio), (Some(0.0), None));
        assert!(table(&figures).contains("missing"));
    }

    #[test]
    fn the_spread_is_the_largest_of_the_three() {
        let figures = compare(&results(&[
            (Method::Mttcg, System::Linux, "a 100 ns\na 110 ns\na 105 ns"),
            (Method::Mttcg, System::Isle, "a 10 ns\na 12 ns\na 10 ns"),
        ]));
        assert_eq!(figures[0].spread, Some(0.2));
    }

    #[test]
    fn bins_are_no_figures_and_methods_stay_together() {
        let figures = compare(&results(&[
            (Method::Mttcg, System::Linux, "a 1 ns\nhg_hist_64 7 count\nb 1 ns"),
            (Method::Icount, System::Linux, "a 1 ns"),
        ]));
        let names: Vec<_> = figures.iter().map(|figure| (figure.method, figure.name.as_str())).collect();
        assert_eq!(names, [(Method::Icount, "a"), (Method::Mttcg, "a"), (Method::Mttcg, "b")]);
    }

    #[test]
    fn the_objects_have_the_agreed_names() {
        let figures = compare(&results(&[(Method::Icount, System::Linux, "getpid 227 ns")]));
        let json = serde_json::to_value(&figures).unwrap();
        let expected = serde_json::json!([{
            "name": "getpid", "method": "icount", "unit": "instructions", "better": "lower",
            "linux": 227.0, "linux_isolated": null, "isle": null, "ratio": null, "spread": null,
        }]);
        assert_eq!(json, expected);
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [(0.0, "0"), (227.0, "227"), (0.34567, "0.3457"), (227.04, "227.0"), (21066.4, "21066")] {
            assert_eq!(number(value), text);
        }
    }
}
