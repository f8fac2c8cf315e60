// SPDX-License-Identifier: MIT OR Apache-2.0
//! The report for a person: one HTML file with nothing outside it.

use anyhow::Result;
use maud::{html, Markup, PreEscaped, DOCTYPE};

use crate::figures::{number, Better, Figure};
use crate::plots;
use crate::results::{Method, Results, Sample, System};

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, td.unit, th.unit { text-align: left; }
.missing { color: #999; } .good { color: #00734f; font-weight: 600; } .bad { color: #b03a00; font-weight: 600; }
figure { margin: 1rem 0; overflow-x: auto; } figcaption { color: #555; }
";

/// What single figures should come to, at most, or for bandwidth at least.
const GOALS: &[(&str, f64)] = &[
    ("getpid", 0.5),
    ("sched_yield", 0.35),
    ("first_touch_4k", 0.25),
    ("malloc_1m", 0.25),
    ("futex_pingpong_1core", 0.6),
    ("thread_create_join_1core", 0.5),
    ("omp_parallel_", 0.7),
    ("stream_", 1.0),
    ("io_write_1", 3.0),
    ("io_write_1m", 1.1),
    ("net_to_1m", 1.0),
    ("net_from_1m", 1.0),
    ("net_rr", 1.0),
    ("vm_start_kernel", 0.1),
];

/// Below this a ratio's distance from 1 tells no difference.
fn claimable(method: Method) -> f64 {
    match method {
        Method::Icount => 0.01,
        Method::Mttcg => 0.15,
    }
}

/// A program that looks for noise.
struct Probe {
    name: &'static str,
    title: &'static str,
    /// What bins and samples are the length of.
    length: &'static str,
    /// Whether that is the time by which a sample is longer than the shortest.
    excess: bool,
}

const PROBES: &[Probe] = &[
    Probe {
        name: "hg",
        title: "Hourglass: gaps in a loop that reads the clock",
        length: "length of a gap",
        excess: false,
    },
    Probe {
        name: "fwq",
        title: "Fixed work quantum: equal pieces of work",
        length: "time above the shortest",
        excess: true,
    },
];

/// `about` and `errors` are lines on how it was measured and on what went wrong.
pub fn render(figures: &[Figure], results: &Results, about: &str, errors: &str) -> Result<String> {
    let mut noise = Vec::new();
    for method in Method::ALL {
        for probe in PROBES {
            noise.extend(pictures(results, method, probe)?);
        }
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "HermitCore benchmarks" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "HermitCore benchmarks" }
                p {
                    "The same binaries on the same CPUs: under Linux as shipped (linux), under Linux with these CPUs set "
                    "apart by isolcpus, nohz_full and rcu_nocbs (linux_isolated), and on an isle. "
                    "The ratio is the isle's median by that of the better Linux; the spread is that of the least "
                    "steady of the three, largest less smallest value by the median."
                }
                p {
                    strong { "Measured under emulation (QEMU's TCG), not on real hardware. " }
                    "Ratios carry over to some degree; absolute figures don't."
                }
                @for method in Method::ALL { (table(figures, method)) }
                @if !noise.is_empty() {
                    h2 { "Noise" }
                    p {
                        "What can be relied on under emulation is what can be counted: the rows "
                        code { "noise_…" } " above. Under multi-threaded TCG most of the gaps below are "
                        "the host's, which takes cores away from QEMU; under icount all CPUs share one clock, so what "
                        "another CPU does shows as a gap."
                    }
                    @for picture in &noise { (picture) }
                }
                @if !errors.is_empty() || !results.problems.is_empty() {
                    h2 { "What went wrong" }
                    ul {
                        @for problem in &results.problems { li { (problem) } }
                        @for line in errors.lines() { li { (line) } }
                    }
                }
                @if !about.is_empty() {
                    h2 { "Where and how" }
                    ul { @for line in about.lines() { li { (line) } } }
                }
            }
        }
    };
    Ok(page.into_string())
}

fn table(figures: &[Figure], method: Method) -> Markup {
    let mut rows = figures.iter().filter(|figure| figure.method == method).peekable();
    html! {
        @if rows.peek().is_some() {
            h2 { (heading(method)) }
            p { (explanation(method)) }
            table {
                tr {
                    th { "name" }
                    @for system in System::ALL { th { (system.name()) } }
                    th.unit { "unit" } th { "ratio" } th { "goal" } th { "spread" }
                }
                @for figure in rows {
                    tr {
                        td { (figure.name) }
                        @for system in System::ALL { (cell(figure.of(system))) }
                        td.unit { (figure.unit) }
                        (ratio(figure))
                        td { (goal(figure)) }
                        td { @if let Some(spread) = figure.spread { (format!("{:.1} %", spread * 100.0)) } }
                    }
                }
            }
        }
    }
}

fn heading(method: Method) -> &'static str {
    match method {
        Method::Icount => "Instructions executed (icount)",
        Method::Mttcg => "Time under multi-threaded TCG (mttcg)",
    }
}

fn explanation(method: Method) -> &'static str {
    match method {
        Method::Icount => {
            "Time is the number of instructions executed, by all CPUs together; figures of one core repeat to \
             the digit, and these are the figures of record."
        }
        Method::Mttcg => {
            "Time is the host's, and the CPUs run side by side. Differences below 15 % tell nothing (they are \
             grey), nor do maxima; what needs several cores varies a lot."
        }
    }
}

fn cell(value: Option<f64>) -> Markup {
    html! {
        @match value {
            Some(value) => td { (number(value)) },
            None => td.missing { "missing" },
        }
    }
}

fn ratio(figure: &Figure) -> Markup {
    let Some(ratio) = figure.ratio else { return html! { td.missing { "–" } } };
    let gain = if figure.better == Better::Lower { 1.0 - ratio } else { ratio - 1.0 };
    let claimable = claimable(figure.method);
    let class = match gain {
        gain if gain > claimable => "good",
        gain if gain < -claimable => "bad",
        _ => "missing",
    };
    html! { td class=(class) { (format!("{ratio:.3}")) } }
}

fn goal(figure: &Figure) -> String {
    let matches = |name: &str| figure.name == name || (name.ends_with('_') && figure.name.starts_with(name));
    let Some((_, goal)) = GOALS.iter().find(|(name, _)| matches(name)) else { return String::new() };
    let sign = if figure.better == Better::Lower { '≤' } else { '≥' };
    format!("{sign} {goal}")
}

fn pictures(results: &Results, method: Method, probe: &Probe) -> Result<Option<Markup>> {
    let samples: Vec<_> = System::ALL
        .into_iter()
        .filter_map(|system| Some((system, results.samples.get(&(method, system, probe.name.into()))?)))
        .map(|(system, samples)| (system, if probe.excess { excesses(samples) } else { samples.clone() }))
        .collect();
    let bins: Vec<_> = System::ALL
        .into_iter()
        .map(|system| (system, bins(results, method, system, probe.name)))
        .filter(|(_, bins)| !bins.is_empty())
        .collect();
    if samples.is_empty() && bins.is_empty() {
        return Ok(None);
    }
    let missing: Vec<_> = System::ALL
        .into_iter()
        .filter(|system| !samples.iter().any(|(there, _)| there == system))
        .map(System::name)
        .collect();
    Ok(Some(html! {
        h3 { (probe.title) " (" (method.name()) ")" }
        @if !missing.is_empty() { p.missing { "missing: " (missing.join(", ")) } }
        @if !bins.is_empty() {
            figure { (PreEscaped(plots::histogram(probe.length, &bins)?)) figcaption { "Histogram; both axes are logarithmic." } }
        }
        @if !samples.is_empty() {
            figure {
                (PreEscaped(plots::time_line(probe.length, &samples)?))
                figcaption { "Time line; where samples are many, the longest of each stretch of time." }
            }
        }
    }))
}

fn excesses(samples: &[Sample]) -> Vec<Sample> {
    let shortest = samples.iter().map(|sample| sample.length_ns).fold(f64::INFINITY, f64::min);
    samples.iter().map(|sample| Sample { length_ns: sample.length_ns - shortest, ..*sample }).collect()
}

/// Lowest length and median count of each bin, in ascending order.
fn bins(results: &Results, method: Method, system: System, program: &str) -> Vec<(f64, f64)> {
    let mut bins: Vec<(f64, f64)> = results
        .measured
        .iter()
        .filter(|((of, _), _)| *of == method)
        .filter_map(|((_, name), measured)| {
            let lowest = name.strip_prefix(program)?.strip_prefix("_hist_")?.parse().ok()?;
            Some((lowest, crate::figures::median(measured.values(system))?))
        })
        .collect();
    bins.sort_by(|a, b| a.0.total_cmp(&b.0));
    bins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::compare;

    fn page(results: &Results, about: &str) -> String {
        render(&compare(results), results, about, "isle: no threads\n").unwrap()
    }

    #[test]
    fn the_page_shows_ratios_goals_and_what_is_missing() {
        let mut results = Results::default();
        results.add(Method::Icount, System::Linux, "getpid 200 ns\nomp_parallel_t2 9 ns");
        results.add(Method::Icount, System::Isle, "getpid 80 ns");
        let html = page(&results, "Host: a <small> one\n");
        assert!(html.contains(r#"<td class="good">0.400</td><td>≤ 0.5</td>"#), "{html}");
        assert!(html.contains(r#"<td class="missing">missing</td>"#) && html.contains("≤ 0.7"));
        assert!(html.contains("a &lt;small&gt; one") && html.contains("isle: no threads"));
        assert!(html.contains("TCG") && !html.contains("<svg"));
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let mut results = Results::default();
        results.add(Method::Mttcg, System::Linux, "hg_gap_max 100 ns\nhg_hist_64 7 count\nhg_hist_8 9 count");
        let samples = vec![Sample { at_ns: 1e9, length_ns: 5e4 }];
        results.samples.insert((Method::Mttcg, System::Linux, "hg".into()), samples);
        let html = page(&results, "");
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(html.contains("missing: linux_isolated, isle"));
        let links = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!links.contains("http") && !links.contains("src=") && !links.contains("<link"));
    }

    #[test]
    fn small_differences_of_time_are_no_differences() {
        let mut results = Results::default();
        results.add(Method::Mttcg, System::Linux, "a 100 ns\nb 100 ns");
        results.add(Method::Mttcg, System::Isle, "a 90 ns\nb 120 ns");
        let html = page(&results, "");
        assert!(html.contains(r#"<td class="missing">0.900"#) && html.contains(r#"<td class="bad">1.200"#));
    }

    #[test]
    fn an_excess_is_what_a_piece_takes_longer_than_the_shortest() {
        let samples = [(1.0, 70.0), (2.0, 50.0)].map(|(at_ns, length_ns)| Sample { at_ns, length_ns });
        let lengths: Vec<_> = excesses(&samples).iter().map(|sample| sample.length_ns).collect();
        assert_eq!(lengths, [20.0, 0.0]);
        assert!(excesses(&[]).is_empty());
    }

    #[test]
    fn bins_are_sorted_by_length() {
        let mut results = Results::default();
        results.add(Method::Mttcg, System::Isle, "hg_hist_64 7 count\nhg_hist_8 9 count\nhg_gap_max 1 ns");
        assert_eq!(bins(&results, Method::Mttcg, System::Isle, "hg"), [(8.0, 9.0), (64.0, 7.0)]);
    }
}
