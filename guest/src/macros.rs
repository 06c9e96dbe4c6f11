//! The macros that make a component and a test of a policy.

/// Exports a policy from its crate.
///
/// In a component this answers the host's questions; in a native build, such as `cargo test`, it expands to nothing. Write it once, in a
/// crate of the types `["cdylib", "rlib"]`. The version that the component tells the host is the crate's own. A panic is logged before
/// it ends the decision as a fault of the policy.
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static POLICY: ::std::cell::Cell<::std::option::Option<&'static $policy>> = const { ::std::cell::Cell::new(::std::option::Option::None) };
            }

            struct Component;

            impl $crate::component::bindings::Guest for Component {
                fn describe() -> $crate::component::bindings::Description {
                    $crate::component::describe::<$policy>(::std::env!("CARGO_PKG_VERSION"))
                }

                fn configure(
                    config: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::vec::Vec<::std::string::String>> {
                    $crate::component::configure(config).map(|policy| POLICY.set(::std::option::Option::Some(policy)))
                }

                fn decide(
                    request: $crate::component::bindings::Request,
                ) -> ::std::result::Result<$crate::component::bindings::Decision, ::std::string::String> {
                    $crate::component::decide(POLICY.get(), request)
                }
            }

    $crate::component::bindings::export_component!(Component with_types_in $crate::component::bindings);
        };
    };
}

/// Makes a test that runs every scenario of the crate's folder `scenarios/` against a policy, and fails if there is none.
#[macro_export]
macro_rules! scenarios {
    ($policy:ty) => {
        #[cfg(test)]
        #[test]
        fn scenarios() {
            if let Err(problem) =
                $crate::testing::run_folder::<$policy>(::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/scenarios"))
            {
                ::std::panic!("{problem}");
            }
        }
    };
}
