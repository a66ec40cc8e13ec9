//! Keys and channels as Redis knows them: with the prefix.

use super::target::BadConfig;
use crate::broker::config::Config;
use crate::broker::{Channel, keys};

/// What an empty prefix becomes on a cluster: a hash tag, so that all keys lie in one slot and scripts may touch them.
const CLUSTER_PREFIX: &str = "{tickcast}:";

/// Every name with its prefix.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    updates: String,
    subscriptions: String,
    control: String,
    replies: String,
    /// The channel on which this process probes its own link; below the updates' name, so that an access rule for
    /// `market-data:*` covers it.
    pub(super) probe: String,
    /// The key by which it probes writing.
    pub(super) probe_key: String,
}

impl Names {
    pub(super) fn new(config: &Config, is_cluster: bool) -> Result<Names, BadConfig> {
        let prefix = match config.prefix.as_str() {
            "" if is_cluster => CLUSTER_PREFIX,
            prefix if is_cluster && !has_hash_tag(prefix) => {
                return Err(BadConfig::NoHashTag(prefix.trim_end_matches(':').to_owned()));
            }
            prefix => prefix,
        };
        let process = format!("{:016x}", fastrand::u64(..));
        let channels = &config.channels;
        Ok(Names {
            updates: [prefix, &channels.updates].concat(),
            subscriptions: [prefix, &channels.subscriptions].concat(),
            control: [prefix, &channels.control].concat(),
            replies: [prefix, &channels.control, ":replies"].concat(),
            probe: [prefix, &channels.updates, ":probe:", &process].concat(),
            probe_key: [prefix, keys::PROBE_PREFIX, &process].concat(),
            prefix: prefix.to_owned(),
        })
    }

    pub(super) fn key(&self, key: &str) -> String {
        [&self.prefix, key].concat()
    }

    /// The key without the prefix.
    pub(super) fn plain<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(self.prefix.as_str())
    }

    pub(super) fn channel(&self, channel: Channel) -> &str {
        match channel {
            Channel::Updates => &self.updates,
            Channel::Subscriptions => &self.subscriptions,
            Channel::Control => &self.control,
            Channel::Replies => &self.replies,
        }
    }

    pub(super) fn channel_of(&self, name: &str) -> Option<Channel> {
        let all = [Channel::Updates, Channel::Subscriptions, Channel::Control, Channel::Replies];
        all.into_iter().find(|channel| self.channel(*channel) == name)
    }
}

/// Redis hashes what stands between the first `{` and the next `}`, if that is not empty.
fn has_hash_tag(prefix: &str) -> bool {
    let tag = prefix.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    tag.is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, is_cluster: bool) -> Result<Names, BadConfig> {
        Names::new(&Config { prefix: prefix.into(), ..Config::default() }, is_cluster)
    }

    #[test]
    fn keys_and_channels_get_the_prefix() {
        let names = names("test:", false).unwrap();
        assert_eq!(names.key(keys::ACTIVE), "test:subscriptions:active");
        assert_eq!(names.channel(Channel::Replies), "test:market-data:control:replies");
        assert_eq!(names.channel_of("test:market-data:updates"), Some(Channel::Updates));
        assert_eq!(names.channel_of("market-data:updates"), None);
        assert_eq!(names.plain("test:cache:indices"), Some("cache:indices"));
    }

    #[test]
    fn a_cluster_needs_a_hash_tag() {
        assert_eq!(names("", true).unwrap().key(keys::EPOCH), "{tickcast}:publisher:epoch");
        assert_eq!(names("{mine}:", true).unwrap().key(keys::EPOCH), "{mine}:publisher:epoch");
        assert_eq!(names("mine:", true).unwrap_err(), BadConfig::NoHashTag("mine".into()));
        assert!(names("{}:", true).is_err());
        assert_eq!(names("", false).unwrap().key(keys::EPOCH), "publisher:epoch");
    }
}
