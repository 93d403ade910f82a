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

/// A value that differs from the default, for each key that the template shows.
const OTHERS: [(&str, &str); 39] = [
    ("node.name", "other"),
    ("node.data_dir", "elsewhere"),
    ("node.network_id", "other"),
    ("node.codec", "json"),
    ("node.capabilities", "gpu"),
    ("network.pub_port", "7001"),
    ("network.sub_port", "7009"),
    ("network.beacon_port", "7002"),
    ("network.bind", "127.0.0.1"),
    ("network.host", "node.example.org"),
    ("network.bootstrap_peers", "h:1"),
    ("network.multicast", "false"),
    ("network.multicast_group", "239.1.2.3"),
    ("network.discovery_interval", "6"),
    ("network.heartbeat_interval", "2"),
    ("network.heartbeat_timeout", "14"),
    ("network.suspect_after", "8"),
    ("network.max_peers", "49"),
    ("network.min_peers", "3"),
    ("network.members", "00112233445566778899aabbccddeeff"),
    ("network.election", "rendezvous"),
    ("network.clock_sync_tolerance", "29"),
    ("network.rate_limit_msgs_per_sec", "99"),
    ("network.socket_high_water_mark", "999"),
    ("network.message_queue_size", "9999"),
    ("network.use_uvloop", "true"),
    ("jobs.shell_allow", "ls"),
    ("jobs.max_active", "3"),
    ("jobs.time_limit", "500"),
    ("jobs.memory_limit", "256MiB"),
    ("jobs.output_limit", "128KiB"),
    ("jobs.file_limit", "32MiB"),
    ("jobs.process_limit", "32"),
    ("ledger.genesis_balance", "9999"),
    ("ledger.stake", "9"),
    ("ledger.settle_after", "29"),
    ("ledger.settle_batch", "63"),
    ("api.address", "127.0.0.1:5559"),
    ("network.encryption", "true"),
];

#[test]
fn every_key_of_the_template_changes_something() {
    let shown = |settings: &Settings| {
        // All that the process is made of, but for what only repeats the document.
        let (node, document) = (format!("{:?}", settings.node), &settings.document);
        format!(
            "{node} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            settings.data_dir,
            settings.sub_port,
            settings.notices,
            document.jobs,
            document.api,
            (&document.network.bind, document.network.pub_port, document.network.beacon_port),
            (
                &document.network.bootstrap_peers,
                document.network.multicast,
                document.network.multicast_group,
                document.network.socket_high_water_mark,
                document.network.message_queue_size,
            ),
        )
    };
    let default = shown(&Document::default().resolve().unwrap());
    for (key, value) in OTHERS {
        let name = format!("MARLOS_{}", key.replace('.', "_").to_uppercase());
        let mut document = Document::default();
        document.apply_environment(vec![(name, value.to_owned())]).unwrap_or_else(|e| panic!("{key}: {e}"));
        let settings = document.resolve().unwrap_or_else(|e| panic!("{key}: {e}"));
        assert_ne!(shown(&settings), default, "{key} is read by no code");
    }
    // And the template shows no key that was not tried.
    for line in TEMPLATE.lines() {
        let Some((key, _)) = line.trim_start_matches([' ', '#']).split_once(':') else { continue };
        let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let block = ["node", "network", "jobs", "shell", "ledger", "api", "allow"];
        // These two cannot be switched off: `what_would_be_unsafe_is_refused`.
        let fixed = ["message_signature", "replay_protection"];
        if line.starts_with("  ") && is_key && !block.contains(&key) && !fixed.contains(&key) {
            assert!(
                OTHERS.iter().any(|(tried, _)| tried.ends_with(&format!(".{key}"))),
                "{key} is in the template only"
            );
        }
    }
}
