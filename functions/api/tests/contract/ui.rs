//! The web page: whole, closed to the outside, and about paths that exist.

use serde_json::Value;

use crate::world::{Transport, World, both};

#[tokio::test]
async fn the_page_runs_only_what_it_holds() {
    both(async |world| {
        let first = world.get("/ui").await;
        let policy = first.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(
            !policy.contains("unsafe") && policy.contains("connect-src 'self'"),
            "{policy}"
        );
        let nonce = policy
            .split("script-src 'nonce-")
            .nth(1)
            .unwrap()
            .split('\'')
            .next()
            .unwrap();
        assert_eq!(nonce.len(), 32);
        for tag in ["script", "style"] {
            let opened = first.text.matches(&format!("<{tag}")).count();
            assert_eq!(opened, 1, "{tag}");
            assert!(
                first.text.contains(&format!("<{tag} nonce=\"{nonce}\">")),
                "{tag}"
            );
        }
        for outside in [
            "http://",
            "https://",
            "src=",
            "@import",
            "url(",
            "style=\"",
            "innerHTML",
            "onclick=\"",
        ] {
            assert!(!first.text.contains(outside), "{outside}");
        }
        let second = world.get("/ui").await;
        assert!(!second.text.contains(nonce), "a nonce is used once");
    })
    .await;
}

#[tokio::test]
async fn the_page_asks_for_described_paths_only() {
    let page = World::new(Transport::Direct).get("/ui").await.text;
    let document: Value = serde_json::from_str(snowpack_api::OPENAPI).unwrap();
    let paths = document["paths"].as_object().unwrap();
    for (ending, count) in [
        ("/health/cached", 2),
        ("/maintenance/recommendation", 1),
        ("/cancel", 1),
        ("/orchestrator/runs", 1),
        ("/tables/cache-status", 1),
        ("/drain", 1),
    ] {
        assert!(paths.keys().any(|path| path.ends_with(ending)), "{ending}");
        assert_eq!(page.matches(ending).count(), count, "{ending}");
    }
}
