//! Call: a request with its method, which is looked up once, outside of all layers.

use std::sync::Arc;

use http::Request;

use super::methods::{Method, Methods};

/// Request with its method, as the layers pass it on.
pub(crate) struct Call<R> {
    pub(crate) method: Arc<Method>,
    pub(crate) request: Request<R>,
}

// === impl Call ===

impl<R> Call<R> {
    pub(crate) fn new(methods: &Methods, request: Request<R>) -> Self {
        Self { method: Arc::clone(methods.find(request.uri().path())), request }
    }
}
