use super::*;

#[test]
fn a_name_is_trimmed_and_bounded() {
    let longest = "ü".repeat(NAME_CHARS_MAX);
    let too_long = "ü".repeat(NAME_CHARS_MAX + 1);
    for (text, expect) in [
        ("  apac prod\t", Ok("apac prod")),
        ("", Err(Refusal::NameEmpty)),
        (" \n ", Err(Refusal::NameEmpty)),
        ("two\nlines", Err(Refusal::NameMalformed)),
        (&longest, Ok(longest.as_str())),
        (&too_long, Err(Refusal::NameTooLong)),
    ] {
        let name = Name::parse(text);
        assert_eq!(name.as_ref().map(Name::as_str).map_err(|r| *r), expect, "{text:?}");
    }
}

#[test]
fn one_token_stays_enabled_and_no_more_than_the_plan_allows() {
    let ok = Ok(());
    let sole = |max| Err(Refusal::SoleToken { max });
    let last = |max| Err(Refusal::LastEnabledToken { max });
    let lasting = |max| Err(Refusal::LastLastingToken { max });
    let full = |max| Err(Refusal::EnabledLimit { max });
    let retires = |max| Err(Refusal::RetiringLimit { max });
    // Counts, then: enable another, lose one that lasts, lose one that does not, delete a disabled one, retire another.
    for ((total, enabled, lasts, retiring, max), enable, lose, lose_other, delete, retire) in [
        ((1, 1, 1, 0, 1), full(1), sole(1), ok, sole(1), ok),
        ((2, 1, 1, 0, 1), full(1), last(1), ok, ok, ok),
        ((2, 1, 1, 1, 1), full(1), lasting(1), ok, ok, retires(1)),
        ((2, 1, 1, 0, 15), ok, last(15), ok, ok, ok),
        ((2, 2, 2, 0, 15), ok, ok, ok, ok, ok),
        ((2, 2, 1, 0, 15), ok, lasting(15), ok, ok, ok),
        ((30, 15, 15, 0, 15), full(15), ok, ok, ok, ok),
        ((30, 14, 14, 0, 15), ok, ok, ok, ok, ok),
        ((30, 15, 1, 15, 15), full(15), lasting(15), ok, ok, retires(15)),
        ((30, 14, 1, 14, 15), ok, lasting(15), ok, ok, ok),
    ] {
        let counts = TokenCounts { total, enabled, lasting: lasts, retiring, enabled_max: max };
        assert_eq!(counts.may_enable_another(), enable, "{counts:?}");
        assert_eq!(counts.may_lose_one(true), lose, "{counts:?}");
        assert_eq!(counts.may_lose_one(false), lose_other, "{counts:?}");
        assert_eq!(counts.may_delete_disabled(), delete, "{counts:?}");
        assert_eq!(counts.may_retire_another(), retire, "{counts:?}");
    }
}

#[test]
fn a_retired_name_is_a_name_and_keeps_what_it_can() {
    let longest = "ü".repeat(NAME_CHARS_MAX);
    let check = |name, number| retired_name(name, "2026-01-31", number).map(|name| name.0);
    assert_eq!(check("apac prod", 1).unwrap(), "apac prod (until 2026-01-31)");
    assert_eq!(check("apac prod", 12).unwrap(), "apac prod (until 2026-01-31, 12)");
    let cut = check(&longest, 1).unwrap();
    assert_eq!(cut.chars().count(), NAME_CHARS_MAX);
    assert!(cut.ends_with("ü (until 2026-01-31)"), "{cut}");
    assert!(check(&longest, u32::MAX).is_ok());
}

#[test]
fn terms_and_rotations_are_bounded() {
    let expiry = [(1, 0), (1_000, 1_000), (EXPIRES_MS_MAX + 1, 0)];
    assert_eq!(expiry.map(|(at, now)| check_expiry(at, now).is_ok()), [true, false, false]);
    assert_eq!([30 * DAY_MS, 30 * DAY_MS + 1].map(|at| check_deadline(0, at).is_ok()), [true, false]);
    for (overlap_ms, quiet_for_ms, expect) in [
        (1_000, None, Ok(())),
        (OVERLAP_MS_MAX, Some(QUIET_FOR_MS_MIN), Ok(())),
        (999, None, Err(Refusal::Overlap)),
        (OVERLAP_MS_MAX + 1, None, Err(Refusal::Overlap)),
        (DAY_MS, Some(QUIET_FOR_MS_MIN - 1), Err(Refusal::QuietFor)),
        (DAY_MS, Some(OVERLAP_MS_MAX + 1), Err(Refusal::QuietFor)),
    ] {
        assert_eq!(check_rotation(overlap_ms, quiet_for_ms), expect, "{overlap_ms} {quiet_for_ms:?}");
    }
    let types = |count: usize, bytes: usize| Scope {
        types: (0..count).map(|_| "t".repeat(bytes).into()).collect(),
        ..Scope::default()
    };
    let door = |name: &str| Scope { doors: [name.into()].into(), ..Scope::default() };
    for (scope, expect) in [
        (Scope::default(), Ok(())),
        (types(SCOPE_ENTRIES_MAX, TYPE_BYTES_MAX), Ok(())),
        (types(SCOPE_ENTRIES_MAX + 1, 1), Err(Refusal::ScopeTooLong)),
        (types(1, 0), Err(Refusal::ScopeType)),
        (types(1, TYPE_BYTES_MAX + 1), Err(Refusal::ScopeType)),
        (door("bulk"), Ok(())),
        (door("window"), Err(Refusal::UnknownDoor)),
    ] {
        assert_eq!(check_scope(&scope), expect, "{scope:?}");
    }
}

#[test]
fn an_email_address_is_in_lower_case_and_has_two_parts() {
    for (text, expect) in [
        (" A.B@Example.COM ", Some("a.b@example.com")),
        ("a@localhost", Some("a@localhost")),
        ("@b", None),
        ("a@", None),
        ("a@b@c", None),
        ("a b@c", None),
        ("a", None),
        ("", None),
    ] {
        assert_eq!(Email::parse(text).ok().as_ref().map(Email::as_str), expect, "{text}");
    }
    assert!(Email::parse(&format!("{}@b", "a".repeat(252))).is_ok());
    assert!(Email::parse(&format!("{}@b", "a".repeat(253))).is_err());
}

#[test]
fn a_password_is_long_and_not_the_address() {
    for (password, expect) in [
        ("ü".repeat(12), Ok(())),
        ("a".repeat(256), Ok(())),
        ("a".repeat(11), Err(Refusal::PasswordLength)),
        ("a".repeat(257), Err(Refusal::PasswordLength)),
        ("Somebody@example.com".to_owned(), Err(Refusal::PasswordIsEmail)),
    ] {
        assert_eq!(check_password(&password, "somebody@example.com"), expect, "{password}");
    }
}

#[test]
fn bounds_are_checked() {
    let check = |days, bytes_max, rate| check_bounds(Retention { days, bytes_max }, rate);
    for (got, expect) in [
        (check(1, None, None), Ok(())),
        (check(3_650, Some(1), Some(i64::MAX as u64)), Ok(())),
        (check(0, None, None), Err(Refusal::RetentionDays)),
        (check(3_651, None, None), Err(Refusal::RetentionDays)),
        (check(7, Some(0), None), Err(Refusal::Bytes)),
        (check(7, None, Some(u64::MAX)), Err(Refusal::Bytes)),
    ] {
        assert_eq!(got, expect);
    }
}
