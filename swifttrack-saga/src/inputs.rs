//! What the second argument of a step may be.

use std::sync::Arc;

use crate::erased::{get, shared};
use crate::reference::{Bind, BindPart, StepRef};

/// One reference, or a tuple of up to eight: what a node waits for.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a reference, nor a tuple of up to eight",
    label = "give what earlier steps returned here"
)]
pub trait Refs<'saga> {
    #[doc(hidden)]
    fn exprs(&self, into: &mut Vec<usize>);
}

/// References that together make a step's input.
#[diagnostic::on_unimplemented(
    message = "this does not make the step's input, which is `{In}`",
    label = "expected references that make `{In}`",
    note = "give one reference for each part of the step's `In`, in the same order"
)]
pub trait Inputs<'saga, In>: Refs<'saga> {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn bind(self) -> Bind<In>;
}

/// A reference that makes one part of a step's input.
#[diagnostic::on_unimplemented(
    message = "this step takes `{T}` here, not what `{Self}` refers to",
    label = "expected a reference to `{T}`"
)]
pub trait Input<'saga, T>: Refs<'saga> {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn bind_part(self) -> BindPart<T>;
}

impl<'saga, T> Refs<'saga> for StepRef<'saga, T> {
    fn exprs(&self, into: &mut Vec<usize>) {
        into.push(self.expr);
    }
}

impl<'saga, T: Clone + 'static> Input<'saga, T> for StepRef<'saga, T> {
    #[allow(private_interfaces)]
    fn bind_part(self) -> BindPart<T> {
        let expr = self.expr;
        Box::new(move |scope| get::<T>(&scope.value(expr)).clone())
    }
}

/// The whole input is what one step gave: the very value, not a copy.
impl<'saga, T: Send + Sync + 'static> Inputs<'saga, T> for StepRef<'saga, T> {
    #[allow(private_interfaces)]
    fn bind(self) -> Bind<T> {
        let expr = self.expr;
        Box::new(move |scope| shared(scope.value(expr)))
    }
}

macro_rules! tuple {
    ($($part:ident: $reference:ident),*) => {
        impl<'saga, $($reference: Refs<'saga>),*> Refs<'saga> for ($($reference,)*) {
            #[allow(non_snake_case, unused_variables)]
            fn exprs(&self, into: &mut Vec<usize>) {
                let ($($reference,)*) = self;
                $($reference.exprs(into);)*
            }
        }

        impl<'saga, $($part: 'static, $reference: Input<'saga, $part>),*>
            Inputs<'saga, ($($part,)*)> for ($($reference,)*)
        {
            #[allow(private_interfaces, non_snake_case, unused_variables, clippy::unused_unit)]
            fn bind(self) -> Bind<($($part,)*)> {
                let ($($reference,)*) = self;
                $(let $part = $reference.bind_part();)*
                Box::new(move |scope| Arc::new(($($part(scope),)*)))
            }
        }
    };
}

tuple!();
tuple!(A: Ra);
tuple!(A: Ra, B: Rb);
tuple!(A: Ra, B: Rb, C: Rc);
tuple!(A: Ra, B: Rb, C: Rc, D: Rd);
tuple!(A: Ra, B: Rb, C: Rc, D: Rd, E: Re);
tuple!(A: Ra, B: Rb, C: Rc, D: Rd, E: Re, F: Rf);
tuple!(A: Ra, B: Rb, C: Rc, D: Rd, E: Re, F: Rf, G: Rg);
tuple!(A: Ra, B: Rb, C: Rc, D: Rd, E: Re, F: Rf, G: Rg, H: Rh);
