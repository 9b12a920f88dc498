//! Rules of what may become a password (security 3).

use kisum_domains::password::{PASSWORD_CHARS_MAX, PasswordPolicy, PasswordRefused, check};

const ABOUT: [&str; 2] = ["Ada Lovelace", "ada.lovelace@example.org"];

fn alone(password: &str) -> Result<(), PasswordRefused> {
    check(password, &ABOUT, PasswordPolicy::SingleFactor)
}

/// security 3
#[test]
fn fifteen_characters_are_needed_alone_and_eight_beside_a_second_factor() {
    for (count, policy, is_allowed) in [
        (14, PasswordPolicy::SingleFactor, false),
        (15, PasswordPolicy::SingleFactor, true),
        (7, PasswordPolicy::WithSecondFactor, false),
        (8, PasswordPolicy::WithSecondFactor, true),
        (PASSWORD_CHARS_MAX, PasswordPolicy::SingleFactor, true),
        (PASSWORD_CHARS_MAX + 1, PasswordPolicy::SingleFactor, false),
    ] {
        // Characters are counted, not bytes.
        let password: String = "däwrüktösvpqnzhjxgm".chars().cycle().take(count).collect();
        assert_eq!(check(&password, &ABOUT, policy).is_ok(), is_allowed, "{count} {policy:?}");
    }
}

/// security 3
#[test]
fn nothing_is_asked_of_the_kinds_of_characters() {
    for password in ["the owl bought a tram", "wildwoodpanoramas", "83920475610294857", "🦉🚋🎻🍋🧭🪁🥁🧩🛶🎈🔭🗝🧵🪴🍁"]
    {
        assert_eq!(alone(password), Ok(()), "{password}");
    }
}

/// security 3
#[test]
fn what_everybody_tries_first_is_refused_however_it_is_written() {
    for password in [
        "passwordpassword",
        "Password123456789",
        "correct horse battery staple",
        "Correct-Horse-Battery-Staple",
        "aaaaaaaaaaaaaaa",
        "hunter2hunter2hunter2",
        "abc abc abc abc abc",
        "12345678901234567",
        "qwertyuiopasdfghj",
        "zyxwvutsrqponmlkj",
    ] {
        assert_eq!(alone(password), Err(PasswordRefused::Common), "{password}");
    }
}

/// security 3
#[test]
fn names_and_the_service_s_name_do_not_make_a_password() {
    for password in ["ada.lovelace@example.org", "AdaLovelace-1815!", "kisum kisum 2026 kisum", "Lovelace1234567"] {
        assert_eq!(alone(password), Err(PasswordRefused::Context), "{password}");
    }
    assert_eq!(alone("lovelace likes the tram"), Ok(()), "a name may stand in one that has more to it");
    assert_eq!(check("AdaLovelace-1815!", &[], PasswordPolicy::SingleFactor), Ok(()), "of somebody else");
}
