//! A definition as a picture.

use std::fmt::Write as _;

use crate::definition::{Definition, Kind, Node, Undo};

impl Definition {
    /// Draws the saga as a Mermaid flowchart: solid arrows forward, dotted ones back.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart TD\n  start([start])\n");
        for (place, node) in self.nodes.iter().enumerate() {
            let _ = writeln!(out, "  n{place}{}", shape(node));
        }
        self.edges(|from, to| {
            let _ = match from {
                Some(from) => writeln!(out, "  n{from} --> n{to}"),
                None => writeln!(out, "  start --> n{to}"),
            };
        });
        for (place, node) in self.nodes.iter().enumerate() {
            let name = &node.name;
            let _ = match node.undo {
                Undo::By { .. } => {
                    writeln!(out, "  n{place} -. undo .-> u{place}[/\"undo {name}\"/]")
                }
                Undo::Irrevocable(reason) => {
                    let reason = reason.replace('"', "#quot;");
                    writeln!(out, "  n{place} -. stays .-> u{place}>\"{reason}\"]")
                }
                Undo::Nothing | Undo::Never => Ok(()),
            };
        }
        out
    }

    /// Draws the saga as a Graphviz digraph.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut out = format!("digraph {:?} {{\n  start [shape=circle];\n", &*self.name);
        for (place, node) in self.nodes.iter().enumerate() {
            let shape = match node.kind {
                Kind::Step | Kind::Forward => "box",
                Kind::Pivot => "hexagon",
                Kind::Sleep(_) => "ellipse",
                Kind::Signal { .. } => "cds",
            };
            let _ = writeln!(out, "  n{place} [label={:?}, shape={shape}];", &*node.name);
        }
        self.edges(|from, to| {
            let _ = match from {
                Some(from) => writeln!(out, "  n{from} -> n{to};"),
                None => writeln!(out, "  start -> n{to};"),
            };
        });
        for (place, node) in self.nodes.iter().enumerate() {
            let label = match node.undo {
                Undo::By { .. } => format!("undo {}", node.name),
                Undo::Irrevocable(reason) => format!("stays: {reason}"),
                Undo::Nothing | Undo::Never => continue,
            };
            let _ = writeln!(out, "  u{place} [label={label:?}, shape=note];");
            let _ = writeln!(out, "  n{place} -> u{place} [style=dotted];");
        }
        out.push_str("}\n");
        out
    }

    fn edges(&self, mut edge: impl FnMut(Option<u16>, u16)) {
        let mut before: Option<std::ops::Range<u16>> = None;
        for stage in &self.stages {
            for to in stage.clone() {
                match &before {
                    None => edge(None, to),
                    Some(before) => before.clone().for_each(|from| edge(Some(from), to)),
                }
            }
            before = Some(stage.clone());
        }
    }
}

fn shape(node: &Node) -> String {
    let name = &node.name;
    match node.kind {
        Kind::Step => format!("[\"{name}\"]"),
        Kind::Forward => format!("[\"{name} ▸\"]"),
        Kind::Pivot => format!("{{{{\"{name}\"}}}}"),
        Kind::Sleep(pause) => format!("([\"{name} {pause:?}\"])"),
        Kind::Signal {
            limit: Some(limit), ..
        } => format!(">\"{name} {limit:?}\"]"),
        Kind::Signal { limit: None, .. } => format!(">\"{name}\"]"),
    }
}
