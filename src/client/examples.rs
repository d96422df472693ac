//! What `--help` shows below the options: how a group of commands is begun with. A test types every line of it.

pub(super) const TOKEN: &str = "\
Examples:
  shipgate token list
  shipgate token create \"apac prod\"
  shipgate token create contractor --expires-in 30d --scope-source 10.0.0.0/8 --scope-type nginx
  shipgate token usage \"apac prod\"                     # who ships with it
  shipgate token rotate \"apac prod\" --overlap 7d       # a successor now, the old one ships on for a week
  shipgate token disable leaked --wait                 # comes back when every gateway refuses it

A shipping token sends logs and reads nothing. An account keeps one that is enabled; its plan says how many may be. docs/tokens.md tells more.";

pub(super) const ACCOUNT: &str = "\
Examples:
  shipgate account show
  shipgate account create \"team a\" --retention-days 14   # prints its shipping token and its API token, once
  shipgate account update \"team a\" --rate-bytes 1000000
  shipgate account list";

pub(super) const API_TOKEN: &str = "\
Examples:
  shipgate api-token create ci                         # prints it, once: what SHIPGATE_API_TOKEN is set to
  shipgate api-token list
  shipgate api-token delete ci

If all are lost: `shipgate reset-api-token`, on the server's machine.";

pub(super) const USER: &str = "\
Examples:
  shipgate user invite ada@example.com --role admin    # prints a link to pass on
  shipgate user invite bob@example.com                 # one who searches and shares links, and manages nothing
  shipgate user set bob@example.com --suspended yes
  shipgate user list

Inviting a user again makes a link that sets a new password. docs/users.md tells more.";

pub(super) const SHARED_TOKEN: &str = "\
Examples:
  shipgate filter create env test
  shipgate shared-token create \"partner A\" --filter env=test --expires-in 30d     # prints the link to send
  shipgate shared-token create audit --filter env=prod --filter team=billing --operator and
  shipgate shared-token set \"partner A\" --filter env=test --filter team=a
  shipgate shared-token delete audit
  shipgate logs search --shared-token TOKEN            # what its recipients see

Without a filter a shared token shows all of the account's logs. docs/sharing.md tells more.";

pub(super) const FILTER: &str = "\
Examples:
  shipgate filter create env test --description \"test systems\"
  shipgate filter create kubernetes.namespace shop     # a field within another
  shipgate shared-token create \"partner A\" --filter env=test
  shipgate filter list
  shipgate filter delete env=test                      # says which shared tokens show something else now

A filter lets through the logs whose field has exactly this value. docs/sharing.md tells more.";

pub(super) const GATEWAYS: &str = "\
Examples:
  shipgate gateways
  shipgate gateways forget gateway-7                   # it is gone for good: no --wait waits for it any more";

pub(super) const AUDIT: &str = "\
Examples:
  shipgate audit --limit 100
  shipgate audit --json";
