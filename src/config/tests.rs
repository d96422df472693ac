use super::*;

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
    load_as(Some(Role::AllInOne), file, environment)
}

fn load_as(role: Option<Role>, file: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let credential = GatewayCredential::from_entropy(&[0; 32]);
    Config::load(Some((Path::new("my.toml"), file)), environment, role, credential)
}

#[test]
fn the_defaults_are_valid() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.gateway.http, "0.0.0.0:8070".parse().unwrap());
    assert_eq!(config.control.http, "127.0.0.1:8072".parse().unwrap());
    assert_eq!(config.ops.http, "127.0.0.1:8073".parse().unwrap());
    assert_eq!(config.data_dir, Path::new("./data"));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "data_dir = \"a\"\n[gateway]\nhttp = \"127.0.0.1:1\"\nline_bytes_max = 10\n";
    let variables =
        [("SHIPGATE__GATEWAY__HTTP", "127.0.0.1:2"), ("SHIPGATE__JOURNAL__SEGMENT_BYTES", "1000000")];
    let config = load(file, &variables).unwrap();
    assert_eq!(config.gateway.http.port(), 2);
    assert_eq!(config.gateway.line_bytes_max, 10);
    assert_eq!(config.journal.segment_bytes, 1_000_000);
    assert_eq!(config.journal.dir, Path::new("a/journal"));
}

#[test]
fn reports_every_mistake_at_once() {
    let file = "nonsense = 1\n[gateway]\nhttp = 5\nbody_bytes_max = 0\n[gateway.tls]\ncertificate = \"c.pem\"\n\
                [bootstrap]\nplan = \"gold\"\n[log]\nformat = \"xml\"\n";
    let variables = [
        ("SHIPGATE__OPS__HTTP", "nowhere"),
        ("SHIPGATE__NO__SUCH", "1"),
        ("SHIPGATE__GATEWAY", "1"),
        ("SHIPGATE__JOURNAL__BYTES_MAX", "many"),
        ("SHIPGATE__BOOTSTRAP__API_TOKEN", "short"),
        ("SHIPGATE__LOG__LEVEL", "shipgate=loud"),
    ];
    let mistakes = load(file, &variables).unwrap_err().0;
    let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "SHIPGATE__GATEWAY",
            "SHIPGATE__JOURNAL__BYTES_MAX",
            "SHIPGATE__NO__SUCH",
            "bootstrap.api_token",
            "bootstrap.plan",
            "gateway.body_bytes_max",
            "gateway.http",
            "gateway.tls.private_key",
            "log.format",
            "log.level",
            "nonsense",
            "ops.http",
        ]
    );
}

#[test]
fn a_secret_is_in_no_mistake() {
    let secret = "not a token, but secret all the same";
    let variables = [("SHIPGATE__BOOTSTRAP__API_TOKEN", secret), ("SHIPGATE__CONTROL__TOKEN_KEY", secret)];
    let mistakes = load("", &variables).unwrap_err();
    assert_eq!(mistakes.0.len(), 2);
    assert!(!format!("{mistakes} {mistakes:?}").contains(secret));
}

#[test]
fn listeners_do_not_share_a_port() {
    let check = |gateway: &str, control: &str| {
        let variables = [("SHIPGATE__GATEWAY__HTTP", gateway), ("SHIPGATE__CONTROL__HTTP", control)];
        load("", &variables).is_ok()
    };
    assert!(!check("127.0.0.1:9000", "127.0.0.1:9000"));
    assert!(!check("0.0.0.0:9000", "127.0.0.1:9000"));
    assert!(check("127.0.0.2:9000", "127.0.0.1:9000"));
    assert!(check("127.0.0.1:0", "127.0.0.1:0"));
}

#[test]
fn each_role_says_what_it_needs() {
    let urls = ("SHIPGATE__SYNC__CONTROL_URLS", "https://one:8074, http://two:8072");
    let credential = ("SHIPGATE__SYNC__CREDENTIAL", "the-credential-of-all-gateways");
    let file = ("SHIPGATE__SYNC__TOKENS_FILE", "tokens.toml");
    let taken = ("SHIPGATE__CONTROL__GATEWAY_CREDENTIAL", "the-credential-of-all-gateways");
    let keys = |role, variables: &[(&str, &str)]| -> Vec<String> {
        let mistakes =
            load_as(Some(role), "", variables).err().map(|mistakes| mistakes.0).unwrap_or_default();
        mistakes.iter().map(|mistake| mistake.split(':').next().unwrap().to_owned()).collect()
    };
    let none: [&str; 0] = [];
    assert_eq!(keys(Role::Gateway, &[urls, credential]), none);
    assert_eq!(keys(Role::Gateway, &[file]), none);
    assert_eq!(keys(Role::Gateway, &[urls]), ["sync.credential"]);
    assert_eq!(keys(Role::Gateway, &[]), ["sync.control_urls"]);
    assert_eq!(keys(Role::Gateway, &[urls, credential, file]), ["sync.control_urls"]);
    assert_eq!(keys(Role::Control, &[taken]), none);
    assert_eq!(keys(Role::Control, &[]), ["control.gateway_credential"]);
    assert_eq!(keys(Role::AllInOne, &[urls, credential]), ["sync.control_urls", "sync.credential"]);
    assert!(load_as(None, "", &[urls]).is_ok(), "nothing is started");
    let config = load_as(Some(Role::Gateway), "", &[urls, credential]).unwrap();
    assert_eq!(config.sync.control_urls.len(), 2);
    for address in ["control:8072", "ftp://control", "https://control/path", "https://"] {
        let urls = ("SHIPGATE__SYNC__CONTROL_URLS", address);
        assert_eq!(keys(Role::Gateway, &[urls, credential]), ["sync.control_urls"], "{address}");
    }
}

#[test]
fn an_examples_secret_is_nobodys() {
    for (role, example) in [
        (Role::Control, include_str!("../../config/control.example.toml")),
        (Role::Gateway, include_str!("../../config/gateway.example.toml")),
    ] {
        let mistakes = load_as(Some(role), example, &[]).unwrap_err();
        assert!(mistakes.to_string().contains("everybody knows"), "{mistakes}");
        let own = example.replace("CHANGE-ME-to", "one-that-is");
        assert!(load_as(Some(role), &own, &[]).is_ok(), "{role:?}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_named() {
    let mistakes = load("gateway = [", &[]).unwrap_err();
    assert!(mistakes.to_string().contains("my.toml: not TOML"), "{mistakes}");
}

#[test]
fn an_object_store_says_what_it_lacks() {
    let url = ("SHIPGATE__LOGS__OBJECT_STORE__URL", "s3://logs/ours");
    let endpoint = ("SHIPGATE__LOGS__OBJECT_STORE__ENDPOINT", "http://127.0.0.1:8333");
    let (id, secret) = (("AWS_ACCESS_KEY_ID", "an id"), ("AWS_SECRET_ACCESS_KEY", "hush"));
    let mistake = |variables: &[(&str, &str)]| {
        load("", variables).err().map(|mistakes| mistakes.to_string()).unwrap_or_default()
    };
    assert!(load("", &[]).unwrap().object_store.is_none());
    let config = load("", &[url, endpoint, id, secret]).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
    assert_eq!(config.object_store.unwrap().location.to_string(), "s3://logs/ours");
    assert!(load("", &[url]).is_ok(), "Amazon's machines have roles");
    assert!(load_as(None, "", &[url, endpoint]).is_ok(), "nothing is started");
    assert!(mistake(&[url, endpoint]).contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
    assert!(mistake(&[url, id]).ends_with("AWS_SECRET_ACCESS_KEY"));
    assert!(
        mistake(&[("SHIPGATE__LOGS__OBJECT_STORE__URL", "gs://logs")])
            .contains("logs.object_store.url: must begin with")
    );
    for address in ["store:8333", "ftp://store", "https://key:secret@store"] {
        let endpoint = ("SHIPGATE__LOGS__OBJECT_STORE__ENDPOINT", address);
        let said = mistake(&[url, endpoint, id, secret]);
        assert!(said.contains("logs.object_store.endpoint") && !said.contains("secret@"), "{said}");
    }
}
