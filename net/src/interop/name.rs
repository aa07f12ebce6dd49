//! Which name, if any, a generic `ToSocketAddrs` argument holds.

use std::any::TypeId;
use std::marker::PhantomData;
use std::mem;

use crate::resolve::Name;

/// The name in `addr` if it is of a type for which std asks the resolver.
///
/// A constant for each type once compiled: the comparisons are between constants.
pub(crate) fn name_in<'a, A>(addr: &'a A) -> Option<Name<'a>> {
    if let Some(text) = view::<A, &'a str>(addr) {
        return Some(Name::Joined(text));
    }
    if let Some(text) = view::<A, &'a &'a str>(addr) {
        return Some(Name::Joined(text));
    }
    if let Some(text) = view::<A, String>(addr) {
        return Some(Name::Joined(text));
    }
    if let Some(text) = view::<A, &'a String>(addr) {
        return Some(Name::Joined(text));
    }
    if let Some((host, port)) = view::<A, (&'a str, u16)>(addr) {
        return Some(Name::Pair(host, *port));
    }
    if let Some((host, port)) = view::<A, &'a (&'a str, u16)>(addr) {
        return Some(Name::Pair(host, *port));
    }
    if let Some((host, port)) = view::<A, (String, u16)>(addr) {
        return Some(Name::Pair(host, *port));
    }
    if let Some((host, port)) = view::<A, &'a (String, u16)>(addr) {
        return Some(Name::Pair(host, *port));
    }
    None
}

/// Any type that `name_in` may look behind. Lifetimes in an implementor are `'a` or longer-lived owners only, so
/// that `view` cannot stretch one.
trait Visible<'a> {}
impl<'a> Visible<'a> for &'a str {}
impl<'a> Visible<'a> for &'a &'a str {}
impl Visible<'_> for String {}
impl<'a> Visible<'a> for &'a String {}
impl<'a> Visible<'a> for (&'a str, u16) {}
impl<'a> Visible<'a> for &'a (&'a str, u16) {}
impl Visible<'_> for (String, u16) {}
impl<'a> Visible<'a> for &'a (String, u16) {}

/// `value` as a `T` if that is its type, whatever the lifetimes within.
fn view<'a, A, T: Visible<'a>>(value: &'a A) -> Option<&'a T> {
    if erased_type_id::<A>() != erased_type_id::<T>() {
        return None;
    }
    // SAFETY: equal ids say that `A` and `T` are one type but for lifetimes. `&'a A` is well-formed, so every lifetime
    // in `A` outlives 'a; those in `T` are exactly 'a (`Visible`), and the types of that list are covariant in them.
    // So this is the shortening that the compiler would do itself if it knew `A`.
    Some(unsafe { &*std::ptr::from_ref(value).cast::<T>() })
}

/// `TypeId::of` without its `'static` bound: types that differ in lifetimes only share an id.
pub(super) fn erased_type_id<T: ?Sized>() -> TypeId {
    trait Typed {
        fn type_id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T: ?Sized> Typed for PhantomData<T> {
        fn type_id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let typed: &dyn Typed = &PhantomData::<T>;
    // SAFETY: only the bound of the trait object changes. The one function called through it reads nothing of the
    // value, and `TypeId` does not depend on lifetimes; this is how the `typeid` crate does it.
    let typed = unsafe { mem::transmute::<&dyn Typed, &(dyn Typed + 'static)>(typed) };
    typed.type_id()
}

#[cfg(test)]
mod tests;
