//! Pictures: lines, labels, and cases in which there is nothing to draw.

use super::*;

fn axis(is_log: bool) -> Axis {
    Axis { name: "x", unit: Unit::Number, is_log }
}

fn drawn(points: Vec<(f64, f64)>, mark: &str) -> String {
    let line = Line { name: "a".to_owned(), tint: 0, points };
    let picture = Picture::new("title", "", axis(false), axis(true), vec![line]);
    Picture { marks: vec![(1.0, mark.to_owned())], ..picture }.to_svg().unwrap().unwrap_or_default()
}

#[test]
fn a_line_has_all_its_points_and_text_is_escaped() {
    let page = drawn(vec![(0.0, 1.0), (1.0, 10.0), (2.0, 1000.0)], "<b onclick='x'>");
    let line = page.lines().find(|line| line.contains("stroke-width=\"2\"")).expect("a line");
    assert_eq!(line.matches(',').count(), 3, "{line}");
    assert!(page.contains("&lt;b onclick=&apos;x&apos;&gt;") && !page.contains("<b onclick"), "{page}");
}

#[test]
fn a_line_is_broken_where_nothing_was_measured() {
    let page =
        drawn(vec![(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 0.0), (4.0, 5.0), (9.0, f64::NAN)], "");
    let lines = page.lines().filter(|line| line.contains("stroke-width=\"2\""));
    assert_eq!(lines.filter(|line| line.matches(',').count() > 1).count(), 1);
    assert_eq!(page.matches("<circle").count(), 1);
    assert!(page.contains("\n8\n"), "the axis holds all seconds:\n{page}");
}

#[test]
fn what_cannot_be_drawn_is_left_out() {
    assert_eq!(drawn(vec![], ""), "");
    assert_eq!(drawn(vec![(0.0, 0.0), (f64::NAN, 1.0)], ""), "");
    assert_eq!(drawn(vec![(-1e308, 1.0), (1e308, 1.0)], ""), "");
    assert!(drawn(vec![(0.0, 5.0)], "").contains("<circle"));
}

/// Returns the labels of the axes, of a picture whose points these are.
fn labels(x: Axis, y: Axis, points: &[(f64, f64)]) -> Vec<String> {
    let line = Line { name: String::new(), tint: 0, points: points.to_vec() };
    let svg = Picture::new("", "", x, y, vec![line]).to_svg().unwrap().unwrap_or_default();
    let texts = svg.split("<text").skip(1);
    texts.map(|text| text.split_once('>').unwrap().1.split_once('<').unwrap().0.trim().to_owned()).collect()
}

#[test]
fn axes_have_labels_at_round_values() {
    let named = labels(axis(false), TIME, &[(0.0, 2e5), (40.0, 2.5e8)]);
    for label in ["0", "10", "20", "30", "40", "1 ms", "10 ms", "100 ms"] {
        assert!(named.iter().any(|named| named == label), "{label} is not among {named:?}");
    }
    let named = labels(axis(false), TIME, &[(0.0, 1.1e6), (1.0, 9e6)]);
    assert!(["2 ms", "5 ms"].iter().all(|label| named.contains(&(*label).to_owned())), "{named:?}");
    let bytes = Axis { unit: Unit::Bytes, ..axis(false) };
    let named = labels(axis(false), bytes, &[(0.0, 0.0), (1.0, 41.0 * 1024.0 * 1024.0)]);
    assert!(["10 MiB", "40 MiB"].iter().all(|label| named.contains(&(*label).to_owned())), "{named:?}");
}
