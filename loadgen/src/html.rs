//! A report as a page for a browser: one file, nothing loaded from elsewhere.
//!
//! Every text goes through Maud or Plotters, and both escape it. The page forbids the browser to load anything or to run
//! scripts, so that a report from elsewhere can be looked at without care.

pub(crate) mod pictures;

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tickwire_measure::Picture;

use crate::cli::HtmlOptions;
use crate::output;
use crate::report::document::{Block, Document, Named, Tone, are_numbers};
use crate::report::model::Report;

/// Writes the page; returns where it is, or the page itself where it goes to `-`.
///
/// # Errors
/// When the file is no report, or the page cannot be written.
pub(crate) fn run(options: &HtmlOptions) -> anyhow::Result<String> {
    let report = Report::load(&options.report)?;
    let page = page(&report.document());
    if options.out == Path::new("-") {
        return Ok(page);
    }
    output::write(&options.out, &page)?;
    Ok(format!("wrote {}", options.out.display()))
}

/// Returns the page of a report or a comparison.
pub(crate) fn page(document: &Document) -> String {
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    let (tone, outcome) = &document.outcome;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { (document.title) }
                style { (PreEscaped(include_str!("html/style.css"))) }
            }
            body {
                h1 { (document.title) }
                (blocks(&document.about))
                .verdict.(class(*tone)) { b { (outcome) } }
                (blocks(&document.reasons))
                (blocks(&document.body))
            }
        }
    }
    .into_string()
}

fn blocks(blocks: &[Block]) -> Markup {
    html! { @for found in blocks { (block(found)) } }
}

fn block(block: &Block) -> Markup {
    html! {
        @match block {
            Block::Section(_, within) if within.is_empty() => {},
            Block::Section(name, within) => { h2 { (name) } (blocks(within)) },
            Block::Line(tone, line) => p.(class(*tone)) { (tone.prefix()) (line) },
            Block::Facts(facts) => .scroll { table { @for (name, fact) in facts { tr { th { (name) } td { (fact) } } } } },
            Block::Table(rows, _) if rows.is_empty() => {},
            Block::Table(rows, _) => (table(rows)),
            Block::Tiles(tiles) => .tiles { @for (name, value) in tiles { div { b { (value) } span.soft { (name) } } } },
            Block::Pictures(pictures) => .pictures { @for picture in pictures { (figure(picture)) } },
            Block::Folded(name, within) => details { summary { (name) } (blocks(within)) },
            Block::Verbatim(text) => pre { (text) },
        }
    }
}

fn figure(picture: &Picture) -> Markup {
    html! {
        figure.wide[picture.is_wide()] {
            figcaption {
                b { (picture.title) } " " (picture.note)
                ul { @for ([r, g, b], name) in picture.keys() {
                    li { i.key style={ "background:rgb(" (r) "," (g) "," (b) ")" } {} (name) }
                } }
            }
            @match picture.to_svg() {
                // Plotters escapes every text that it writes.
                Ok(Some(svg)) => (PreEscaped(svg)),
                Ok(None) => p.soft { "Nothing was measured." },
                Err(error) => p.bad { "This picture could not be drawn: " (error.to_string()) },
            }
        }
    }
}

fn table(rows: &[Named]) -> Markup {
    let names = rows[0].iter().map(|(name, _)| name.as_str());
    let heads: Vec<_> = names.map(|name| (name, are_numbers(rows, name))).collect();
    html! {
        .scroll { table {
            tr { @for (name, right) in &heads { th.right[*right] { (name) } } }
            @for row in rows {
                tr { @for ((_, cell), (_, right)) in row.iter().zip(&heads) { td.right[*right] { (judged(cell)) } } }
            }
        } }
    }
}

/// Makes a cell, in which judgements stand out.
fn judged(cell: &str) -> Markup {
    match cell {
        "WORSE" | "BROKEN" => html! { b.bad { (cell) } },
        "better" | "holds" | "exact" => html! { b.good { (cell) } },
        _ => html! { (cell) },
    }
}

/// Returns the class of a tone in the page's style: its name.
fn class(tone: Tone) -> String {
    format!("{tone:?}").to_lowercase()
}

#[cfg(test)]
#[path = "../tests/units/html.rs"]
mod tests;
