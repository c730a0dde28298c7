//! Search of a collection.

use keyplane_contracts::search::v1 as pb;

use super::{Service, convert};
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn search_documents(
        &self,
        request: pb::SearchDocumentsRequest,
    ) -> Result<pb::SearchDocumentsResponse, Error> {
        let (collection, request) = convert::search(request)?;
        let result = self.search.search(&collection, &request).await?;
        Ok(convert::search_result(&collection, result))
    }
}
