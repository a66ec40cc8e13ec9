//! The Redis broker; the only place that names the Redis crate.
