//! What makes a component of a policy.

/// Exports a policy with what it decides about: any of `span`, `order`, `compression`, `selection` and `prefetch`.
///
/// Once in a crate, which is a `cdylib`. Natively it only checks that the type implements what is named.
///
/// ```text
/// sociable_policy_sdk::export!(MyPolicy: span, order);
/// ```
#[macro_export]
macro_rules! export {
    ($policy:ty: $($interface:ident),+ $(,)?) => {
        const _: () = {
            $($crate::__export_needs!($interface $policy);)+
            #[cfg(target_arch = "wasm32")]
            type Adapter = $crate::wasm::Adapter<$policy>;
            #[cfg(target_arch = "wasm32")]
            $crate::wasm::plugin::export_plugin!(Adapter with_types_in $crate::wasm::plugin);
            $(
                #[cfg(target_arch = "wasm32")]
                $crate::__export_one!($interface Adapter);
            )+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_needs {
    (span $policy:ty) => { $crate::__export_needs!(@ $policy, Span); };
    (order $policy:ty) => { $crate::__export_needs!(@ $policy, Order); };
    (compression $policy:ty) => { $crate::__export_needs!(@ $policy, Compression); };
    (selection $policy:ty) => { $crate::__export_needs!(@ $policy, Selection); };
    (prefetch $policy:ty) => { $crate::__export_needs!(@ $policy, Prefetch); };
    ($other:ident $policy:ty) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($other),
            "` is nothing to decide about: there are span, order, compression, selection and prefetch"
        ));
    };
    (@ $policy:ty, $trait:ident) => {
        const _: fn() = || {
            fn implements<T: $crate::$trait>() {}
            implements::<$policy>();
        };
    };
}

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_one {
    (span $adapter:ident) => { $crate::wasm::span::export_span!($adapter with_types_in $crate::wasm::span); };
    (order $adapter:ident) => { $crate::wasm::order::export_order!($adapter with_types_in $crate::wasm::order); };
    (compression $adapter:ident) => { $crate::wasm::compression::export_compression!($adapter with_types_in $crate::wasm::compression); };
    (selection $adapter:ident) => { $crate::wasm::selection::export_selection!($adapter with_types_in $crate::wasm::selection); };
    (prefetch $adapter:ident) => { $crate::wasm::prefetch::export_prefetch!($adapter with_types_in $crate::wasm::prefetch); };
    ($other:ident $adapter:ident) => {};
}
