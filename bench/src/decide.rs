//! Rate-limiting service's script for one bucket, with nothing around it. The generator runs it itself for the row `raw
//! decide`, and the echo service for the row `echo + decide`.

use std::time::Duration;

use keyplane_rate_limiting::domain::{Descriptor, Limit, PolicyId};
use keyplane_rate_limiting::store::{Bucket, DECIDE, End, Flag, Group, Op, Owner};
use keyplane_valkey::{Arg, Error, Feature, Key, Valkey};

/// Amount of the limit that rows are measured under, for an hour: more than a run makes calls of a user.
pub(crate) const AMOUNT: u64 = 2_000;
/// Hour.
pub(crate) const PERIOD: Duration = Duration::from_hours(1);

/// Store, as the rate-limiting service uses it, without gathering.
#[derive(Clone)]
pub(crate) struct Decide {
    valkey: Valkey,
    policy: PolicyId,
}

// === impl Decide ===

impl Decide {
    pub(crate) fn new(valkey: Valkey) -> Decide {
        let policy = PolicyId::parse("one", "policy").expect("an id");
        Decide { valkey, policy }
    }

    /// Charges 1 to a user's bucket, in a call of its own; the reply.
    pub(crate) async fn one(&self, tenant: &str, user: &str) -> Result<Vec<u8>, Error> {
        let Group { buckets, .. } = self.group(tenant, user);
        let bucket = &buckets[0];
        let (add, capacity) = (bucket.add, bucket.meter.capacity());
        let numbers = [add.micros, add.part, capacity.micros, capacity.part, bucket.meter.n(), bucket.meter.p()];
        let mut bytes = b"c\x01\0\0\x01\0e".to_vec();
        bytes.extend(numbers.iter().flat_map(|number| (*number as f64).to_le_bytes()));
        let key = Key::tagged(
            self.valkey.app(),
            Feature::RATELIMIT,
            tenant,
            &format!("u.{user}"),
            &["b", self.policy.as_str()],
        );
        let reply = self.valkey.run(&DECIDE, &[&key], &[Arg::Bytes(&bytes)]).await?;
        Ok(reply.bytes()?.to_vec())
    }

    /// Buckets for the service's own store, which gathers waiting calls.
    pub(crate) fn group(&self, tenant: &str, user: &str) -> Group {
        let descriptor = Descriptor::new([("tenant", tenant), ("user", user)]);
        let key = Owner::new(&descriptor).bucket(self.valkey.app(), &self.policy, &descriptor);
        let meter = Limit::per(AMOUNT, PERIOD).meter().expect("it counts");
        let (add, channel, end) = (meter.level(1), String::new(), End::default());
        let bucket = Bucket { key, meter, add, flag: Flag::Enforce, channel, end };
        Group { op: Op::Charge(None), record: None, buckets: vec![bucket] }
    }
}
