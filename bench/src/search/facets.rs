//! Error of sampled facets against exact ones.

use keyplane_contracts::search::v1 as pb;
use serde::Serialize;

use super::corpus::{Class, Question, Tenant};
use super::service::{How, Service};
use crate::Error;
use crate::dice::Dice;

/// Comparison of sampled with exact counts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Errors {
    /// Facets that came from a sample, and all.
    pub(super) sampled: u64,
    pub(super) all: u64,
    /// Counts of sampled facets, and those whose interval holds the exact count.
    pub(super) counts: u64,
    pub(super) within: u64,
    /// Median relative error of the counts among the top five with a share of 5 % or more.
    pub(super) median_error: f64,
}

/// Asks each question twice: sampled, and exact.
pub(super) async fn errors(service: &Service, tenants: &[Tenant], count: usize) -> Result<Errors, Error> {
    eprintln!("facets against exact ones");
    let mut service = service.clone();
    let (mut errors, mut relative) = (Errors::default(), Vec::new());
    for tenant in tenants {
        let mut dice = Dice::seeded(99);
        for number in 0..count {
            let question = Question::new(Class::ALL[number % 3], &mut dice);
            let sampled = service.ask(*tenant, &question, How::Plain).await?;
            let exact = service.ask(*tenant, &question, How::Exact).await?;
            for (sampled, exact) in sampled.facets.iter().zip(&exact.facets) {
                errors.all += 1;
                if sampled.approximate {
                    errors.sampled += 1;
                    compare(sampled, exact, &mut errors, &mut relative);
                }
            }
        }
    }
    relative.sort_by(f64::total_cmp);
    errors.median_error = relative.get(relative.len() / 2).copied().unwrap_or_default();
    Ok(errors)
}

fn compare(sampled: &pb::Facet, exact: &pb::Facet, errors: &mut Errors, relative: &mut Vec<f64>) {
    let total: i32 = exact.values.iter().map(|value| value.count).sum();
    for (place, value) in exact.values.iter().enumerate() {
        let Some(estimate) = sampled.values.iter().find(|estimate| estimate.value == value.value) else { continue };
        errors.counts += 1;
        errors.within += u64::from((estimate.min_count..=estimate.max_count).contains(&value.count));
        if place < 5 && f64::from(value.count) >= 0.05 * f64::from(total) {
            relative.push(f64::from((estimate.count - value.count).abs()) / f64::from(value.count));
        }
    }
}
