//! Commands that went to the engine, held against the grammar of the safe subset.

use super::*;

/// The recorder stops the process at the first command outside of the grammar; this test holds that it hears commands.
#[tokio::test]
async fn ft_grammar_holds_for_every_command_and_the_recorder_hears_them() {
    let rig = Rig::start().await;
    let before = keyplane_testkit::search_commands();
    rig.valkey.count(&rig.index, &query("acme")).await.expect("counted");
    keyplane_testkit::eventually("the command is recorded", std::time::Duration::from_secs(10), async || {
        keyplane_testkit::search_commands() > before
    })
    .await;
}
