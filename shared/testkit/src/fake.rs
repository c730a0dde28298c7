/// Implements a generated service for a fake: the given items, and UNIMPLEMENTED for each other call, listed as
/// `name: Request => Response,`. The caller needs tonic.
#[macro_export]
macro_rules! fake_service {
    ($service:ident for $fake:ty { $($item:item)* } $($call:ident: $request:ty => $response:ty,)*) => {
        #[::tonic::async_trait]
        impl $service for $fake {
            $($item)*
            $(async fn $call(
                &self,
                _: ::tonic::Request<$request>,
            ) -> ::std::result::Result<::tonic::Response<$response>, ::tonic::Status> {
                Err(::tonic::Status::unimplemented(stringify!($call)))
            })*
        }
    };
}
