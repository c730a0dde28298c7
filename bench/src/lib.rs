//! The load generator and its report.
