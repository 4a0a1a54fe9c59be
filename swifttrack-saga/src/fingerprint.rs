//! What tells two definitions of one version apart.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::definition::{Definition, Kind, Undo};
use crate::graph::Expr;

impl Definition {
    /// A digest of the [shape](Self::shape), as a running saga was started under.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// What may not change under one version: one line a node, with its stage, its name, its
    /// kind, what becomes of it when the saga turns back, and where its input comes from.
    ///
    /// Compare it with a text in a test, so that a change is seen before it is deployed:
    ///
    /// ```
    /// # use swifttrack_saga::{Saga, Signal};
    /// # fn main() -> Result<(), swifttrack_saga::DefineError> {
    /// let saga = Saga::<u32>::define("door", 1, |s, input| {
    ///     let open = s.await_signal(Signal::<bool>::new("open"));
    ///     s.finish((input, open))
    /// })?;
    /// assert_eq!(saga.definition().shape(), "door\n0 open signal nothing");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Policies are left out: they may change under a running saga. What a
    /// [`map`](crate::StepRef::map) computes is code and cannot be seen here.
    #[must_use]
    pub fn shape(&self) -> &str {
        &self.shape
    }

    pub(crate) fn seal(&mut self, exprs: &[Expr], result: &[usize]) {
        self.mark_used(exprs, result);
        let mut shape = self.name.to_string();
        for node in &self.nodes {
            let kind = match node.kind {
                Kind::Step => "step",
                Kind::Pivot => "pivot",
                Kind::Forward => "forward",
                Kind::Sleep(_) => "sleep",
                Kind::Signal { optional: true, .. } => "signal?",
                Kind::Signal { .. } => "signal",
            };
            let undo = match node.undo {
                Undo::By { .. } => "undo",
                Undo::Nothing => "nothing",
                Undo::Irrevocable(_) => "irrevocable",
                Undo::Never => "never",
            };
            let _ = write!(shape, "\n{} {} {kind} {undo}", node.stage, node.name);
            for expr in &node.refs {
                shape.push(' ');
                self.reference(exprs, *expr, &mut shape);
            }
        }
        let digest = Sha256::digest(shape.as_bytes());
        self.fingerprint = digest[..8]
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        self.shape = shape.into();
    }

    fn mark_used(&mut self, exprs: &[Expr], result: &[usize]) {
        let taken = self.nodes.iter().flat_map(|node| node.refs.clone());
        let taken: Vec<usize> = taken.chain(result.iter().copied()).collect();
        for mut expr in taken {
            while let Expr::Map(of, _) = &exprs[expr] {
                expr = *of;
            }
            if let Expr::Output(node) = &exprs[expr] {
                self.nodes[*node].used = true;
            }
        }
    }

    fn reference(&self, exprs: &[Expr], expr: usize, shape: &mut String) {
        match &exprs[expr] {
            Expr::Input => shape.push_str("input"),
            Expr::Output(node) => shape.push_str(&self.nodes[*node].name),
            Expr::Map(of, _) => {
                shape.push_str("part:");
                self.reference(exprs, *of, shape);
            }
        }
    }
}

/// The first difference between two shapes, in words; none if they are the same.
pub(crate) fn difference(known: &str, new: &str) -> Option<String> {
    let mut known = known.lines();
    let mut new = new.lines();
    let mut place = 0_usize;
    loop {
        let pair = (known.next(), new.next());
        if let (None, None) = pair {
            return None;
        }
        if pair.0 != pair.1 {
            return Some(match pair {
                (Some(was), Some(is)) => format!("node {place} was {was:?} and is {is:?}"),
                (Some(was), None) => format!("node {place} was {was:?} and is gone"),
                (_, is) => format!("node {place} is new: {:?}", is.unwrap_or_default()),
            });
        }
        place += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_is_named_by_its_node() {
        let known = "order\n0 verify step undo input\n1 ship pivot never verify";
        assert_eq!(difference(known, known), None);
        let changed = known.replace("pivot", "step");
        assert_eq!(
            difference(known, &changed).unwrap(),
            r#"node 2 was "1 ship pivot never verify" and is "1 ship step never verify""#
        );
        let longer = format!("{known}\n2 bill forward never ship");
        assert_eq!(
            difference(known, &longer).unwrap(),
            r#"node 3 is new: "2 bill forward never ship""#
        );
        assert!(difference(&longer, known).unwrap().ends_with("and is gone"));
    }
}
