use super::*;

fn error(yaml: &str) -> String {
    Document::parse(yaml).and_then(|d| d.resolve().map(drop)).expect_err("it was accepted")
}

#[test]
fn the_template_says_the_defaults_and_nothing_else() {
    assert_eq!(Document::parse(TEMPLATE).unwrap(), Document::default());
    assert_eq!(Document::parse("# nothing\n").unwrap(), Document::default());
}

#[test]
fn the_documents_block_is_read_as_printed_there() {
    let block = "network:\n  # Ports\n  pub_port: 5555\n  sub_port: 5556\n  beacon_port: 5557\n\n  discovery_interval: 5       # seconds\n  \
                 heartbeat_interval: 3       # seconds\n  max_peers: 50\n\n  message_signature: true\n  replay_protection: true\n  \
                 clock_sync_tolerance: 30\n  rate_limit_msgs_per_sec: 100\n\n  socket_high_water_mark: 1000\n  \
                 message_queue_size: 10000\n  use_uvloop: true\n";
    let settings = Document::parse(block).unwrap().resolve().unwrap();
    assert_eq!(settings.node.heartbeat_interval, Span::secs(3));
    assert_eq!(settings.node.heartbeat_timeout, Span::secs(15));
    assert_eq!(settings.node.suspect_after, Span::millis(7_500));
    assert!(settings.notices.iter().any(|n| n.contains("use_uvloop")));
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    for (yaml, key, line) in [
        ("network:\n  pub_port: 1\n  pubport: 2\n", "pubport", "3"),
        ("nodes: {}\n", "nodes", "1"),
        ("jobs:\n  shell:\n    alow: []\n", "alow", "3"),
        ("jobs:\n  memory: 3\n", "memory", "2"),
    ] {
        let error = error(yaml);
        assert!(error.contains(key) && error.contains(line), "{error}");
    }
}

#[test]
fn what_would_be_unsafe_is_refused() {
    for (yaml, says) in [
        ("network: {message_signature: false}", "message_signature"),
        ("network: {replay_protection: false}", "replay_protection"),
        ("api: {address: '0.0.0.0:5558'}", "loopback"),
        ("network: {pub_port: 0}", "real ports"),
        ("network: {pub_port: 7000, sub_port: 7000}", "pub_port too"),
        ("network: {heartbeat_interval: 3, suspect_after: 4s}", "two heartbeats"),
        ("network: {socket_high_water_mark: 1000000}", "socket_high_water_mark"),
        ("node: {capabilities: [shell]}", "jobs.shell.allow"),
        ("jobs: {shell: {allow: ['*', ls]}}", "stands alone"),
        ("jobs: {shell: {allow: all}}", "neither"),
    ] {
        assert!(error(yaml).contains(says), "{yaml}: {}", error(yaml));
    }
}

#[test]
fn the_environment_beats_the_file_and_its_typing_errors_are_named() {
    let mut document = Document::parse("network: {pub_port: 7000, heartbeat_interval: 1s}").unwrap();
    let set =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    document
        .apply_environment(set(&[
            ("MARLOS_NETWORK_PUB_PORT", "7100"),
            ("MARLOS_NETWORK_DISCOVERY_INTERVAL", "2"),
            ("MARLOS_NETWORK_BOOTSTRAP_PEERS", "a:1, [::1]:2/9"),
            ("MARLOS_JOBS_SHELL_ALLOW", "*"),
            ("MARLOS_JOBS_MEMORY_LIMIT", "1GiB"),
            ("MARLOS_NODE_CODEC", "json"),
            ("MARLOS_LEDGER_GENESIS_BALANCE", "12.5"),
            ("MARLOS_LEDGER_SETTLE_AFTER", "2"),
            ("MARLOS_LOG", "debug"),
            ("PATH", "/bin"),
        ]))
        .unwrap();
    assert_eq!(document.jobs.limits.memory_limit, ByteSize(1 << 30));
    let settings = document.clone().resolve().unwrap();
    assert!(settings.node.pub_endpoint.ends_with(":7100") && settings.sub_port == 7101);
    assert_eq!(settings.node.discovery_interval, Span::secs(2));
    assert_eq!(settings.node.heartbeat_interval, Span::secs(1));
    assert_eq!(settings.node.bootstrap[1].pub_endpoint, "tcp://[::1]:2");
    assert_eq!(settings.node.bootstrap[1].sub_endpoint, "tcp://[::1]:9");
    assert_eq!(settings.node.capabilities, ["shell"]);
    assert_eq!(settings.node.codec, Codec::Json);
    assert_eq!((settings.node.genesis_balance, settings.node.settle_after), (Tokens(12_500_000), Span::secs(2)));
    document.apply_environment(set(&[("MARLOS_JOBS_SHELL_ALLOW", "[echo, ls]")])).unwrap();
    assert_eq!(document.jobs.shell.allow, Allow::Programs(vec!["echo".into(), "ls".into()]));
    for (variable, says) in
        [("MARLOS_NETWORK_PUBPORT", "there is no key"), ("MARLOS_NETWORK_PUB_PORT", "invalid digit")]
    {
        assert!(document.apply_environment(set(&[(variable, "x")])).unwrap_err().contains(says));
    }
}

#[test]
fn a_bootstrap_peer_is_read_in_each_of_its_forms() {
    for (text, host, ports) in [
        ("node1:7000", "node1", (7000, 7001, 5557)),
        ("10.0.0.1:7000/8000", "10.0.0.1", (7000, 8000, 5557)),
        ("[fd99::1]:7000/8000/9000", "fd99::1", (7000, 8000, 9000)),
    ] {
        let peer: BootstrapPeer = text.parse().unwrap();
        assert_eq!((peer.host.as_str(), (peer.pub_port, peer.sub_port, peer.beacon_port)), (host, ports));
    }
    for text in ["", "node1", "node1:", "node1:0", "fd99::1:7000", "[node1]:1", "a b:1", "n:1/2/3/4", "n:65535", ":1"] {
        assert!(text.parse::<BootstrapPeer>().is_err(), "{text}");
    }
}
