//! Policies file: precedence, changes, rejections.

use keyplane_rate_limiting::app::policies::{Settings, StartError};
use keyplane_rate_limiting::domain::Origin;
use keyplane_rate_limiting::error::Error;
use keyplane_testkit::eventually;

use crate::case::{self, Case, FILE, PATIENCE, amount, connect, id, new, rejected as wait_rejected, seen};

#[tokio::test(flavor = "multi_thread")]
async fn api_overrides_the_file() {
    let case = Case::new();
    case.write_file(FILE);
    let policies = case.start().await;
    assert_eq!(seen(&policies, "f"), Some((5, Origin::File)));
    for rejected in
        [policies.update(&id("f"), &amount(6), "", false).await.map(|_| ()), policies.delete(&id("f"), "", true).await]
    {
        let rejected = rejected.expect_err("it is the operator's");
        assert!(matches!(&rejected, Error::PolicyFromFile { id } if id == "f"), "{rejected}");
    }
    policies.create(new("f", 50), false).await.expect("it hides the file's");
    assert_eq!(seen(&policies, "f"), Some((50, Origin::Api)));
    policies.delete(&id("f"), "", false).await.expect("it is deleted");
    assert_eq!(seen(&policies, "f"), Some((5, Origin::File)), "the file's is in force again");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_file_is_loaded_and_an_invalid_one_rejected() {
    let case = Case::new();
    case.write_file(FILE);
    let policies = case.start().await;
    policies.create(new("p", 10), false).await.expect("it is made");
    let mut rejected = policies.rejected();
    let version = policies.catalog().version();
    case.write_file(&FILE.replace("amount: 5", "amount: 6"));
    let known = async |amount| (seen(&policies, "f") == Some((amount, Origin::File))).then_some(());
    eventually("the change is taken", PATIENCE, async || known(6).await).await;
    assert!(policies.catalog().version() > version);
    assert_eq!(seen(&policies, "p"), Some((10, Origin::Api)), "the API's are not touched");

    let version = policies.catalog().version();
    for (broken, why) in [
        ("", "unexpected end of file"),
        ("policies: [", "unclosed bracket"),
        (
            &FILE.replace("amount: 5", "amount: 0"),
            "policies[0].limit.amount: must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block) at line",
        ),
        (&"x".repeat(2 * 1024 * 1024), "it has more than 1048576 bytes"),
    ] {
        case.write_file(broken);
        wait_rejected(&mut rejected, why).await;
        assert_eq!((seen(&policies, "f"), policies.catalog().version()), (Some((6, Origin::File)), version));
    }
    std::fs::remove_file(case.file()).expect("it is removed");
    wait_rejected(&mut rejected, "it cannot be read").await;
    assert_eq!(seen(&policies, "f"), Some((6, Origin::File)), "nor is a missing one");
    case.write_file(&FILE.replace("amount: 5", "amount: 7"));
    eventually("a valid one is taken again", PATIENCE, async || known(7).await).await;
    assert_eq!(*rejected.borrow(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_map_changes_by_a_symlink() {
    use std::os::unix::fs::symlink;
    let case = Case::new();
    let root = case.file().parent().expect("a folder").to_owned();
    for (folder, amount) in [("..one", "5"), ("..two", "6")] {
        std::fs::create_dir(root.join(folder)).expect("a folder");
        let text = FILE.replace("amount: 5", &format!("amount: {amount}"));
        std::fs::write(root.join(folder).join("policies.yaml"), text).expect("a file");
    }
    symlink("..one", root.join("..data")).expect("a link");
    symlink("..data/policies.yaml", case.file()).expect("a link");
    let policies = case.start().await;
    assert_eq!(seen(&policies, "f"), Some((5, Origin::File)));
    symlink("..two", root.join("..data_tmp")).expect("a link");
    std::fs::rename(root.join("..data_tmp"), root.join("..data")).expect("it is swapped");
    let known = async || (seen(&policies, "f") == Some((6, Origin::File))).then_some(());
    eventually("the change is taken", PATIENCE, known).await;
}

#[tokio::test]
async fn unusable_file_stops_the_start() {
    let case = Case::new();
    let start = async || {
        let valkey = connect(&case.app, &keyplane_testkit::valkey().url()).await;
        let error = case::start(valkey, Settings { file: Some(case.file()), ..case.settings() })
            .await
            .err()
            .expect("it rejects");
        assert!(error.is::<StartError>(), "{error}");
        error.to_string()
    };
    let path = case.file().display().to_string();
    let missing = start().await;
    assert!(missing.starts_with(&format!("the policy file {path} cannot be used: it cannot be read: ")), "{missing}");
    case.write_file(&FILE.replace("amount: 5", "amount: 0"));
    assert_eq!(
        start().await,
        format!(
            "the policy file {path} cannot be used: \
             policies[0].limit.amount: must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block) at line 2, column 40"
        )
    );
}
