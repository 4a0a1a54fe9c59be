//! What tells two definitions of one version apart.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::definition::{Definition, Kind, Undo};
use crate::graph::Expr;

impl Definition {
    /// A digest of names, order, inputs and kinds, as a running saga was started under.
    ///
    /// Policies are left out: they may change under a running saga. What a
    /// [`map`](crate::StepRef::map) computes is code and cannot be seen here.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
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
