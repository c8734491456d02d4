//! Tells operators where the config file asks for what the cluster has decided otherwise since: it
//! counts at founding alone.

use std::time::Duration;

use crate::lifecycle::{Board, Level};
use crate::replica::{Replica, Topic};
use crate::state::Settings;

const SUBJECT: &str = "cluster/settings";

/// What the config file names of a cluster's settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wished {
    /// `limits.quota`, in bytes.
    pub quota: Option<u64>,
    /// `limits.history`.
    pub history: Option<Duration>,
}

impl Wished {
    /// What differs and what to do about it; none if nothing does.
    fn unlike(&self, settings: &Settings) -> Option<String> {
        let quota = self.quota.filter(|quota| *quota != settings.quota).map(|wished| {
            let quota = settings.quota;
            format!("limits.quota is {wished} bytes in the config file, and {quota} in the cluster")
        });
        let history = self.history.filter(|history| *history != settings.history).map(|wished| {
            let [wished, history] = [wished, settings.history].map(humantime::format_duration);
            format!("limits.history is {wished} in the config file, and {history} in the cluster")
        });
        let all: Vec<String> = quota.into_iter().chain(history).collect();
        (!all.is_empty())
            .then(|| format!("{}, which counts: `remora servers set` changes it", all.join("; ")))
    }
}

/// Keeps the board true about it.
pub(super) async fn tell(wished: Wished, replica: &Replica, board: &Board) {
    let mut watch = replica.watch([Topic::Members]);
    loop {
        let state = replica.snapshot();
        match wished.unlike(&state.identity().settings).filter(|_| state.is_founded()) {
            Some(text) => board.set(SUBJECT, Level::Warning, text),
            None => board.clear(SUBJECT),
        }
        watch.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_file_names_can_differ() {
        let settings =
            Settings { quota: 5, history: Duration::from_secs(60), ..Default::default() };
        let unlike = |quota, history| Wished { quota, history }.unlike(&settings);
        assert_eq!(unlike(None, None), None);
        assert_eq!(unlike(Some(5), Some(Duration::from_secs(60))), None);
        let text = unlike(Some(6), Some(Duration::from_secs(7200))).unwrap();
        assert_eq!(
            text,
            "limits.quota is 6 bytes in the config file, and 5 in the cluster; limits.history is \
             2h in the config file, and 1m in the cluster, which counts: `remora servers set` \
             changes it"
        );
        assert!(!unlike(Some(6), None).unwrap().contains("history"));
    }
}
