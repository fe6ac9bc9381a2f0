"""Where endpoints are, and their keys."""

from __future__ import annotations

import pytest

from matrixbench.backends.http.address import address_of, beside, root_of
from matrixbench.errors import ServerError


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_names_its_variable(value: str | None) -> None:
    """Unset and empty are the same mistake: exit 4, with the line that mends it."""
    environ = {} if value is None else {"SOME_KEY": value}
    with pytest.raises(ServerError, match="SOME_KEY is not set") as caught:
        address_of("https://example.test/v1", "SOME_KEY", environ)
    assert "export SOME_KEY" in caught.value.hint


def test_a_key_that_no_header_can_carry_is_not_shown() -> None:
    """Line breaks and other scripts are refused without showing them."""
    with pytest.raises(ServerError) as caught:
        address_of("https://example.test/v1", "K", {"K": "geheim\nüber"})
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "example.test/v1", "ftp://example.test", "http:///v1", "http://x:99999/v1", "http://[x"],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    """The hint shows what one looks like."""
    with pytest.raises(ServerError, match="not an http url") as caught:
        address_of(url, None, {})
    assert "http://127.0.0.1:8080/v1" in caught.value.hint


def test_secrets_in_the_url_are_not_shown() -> None:
    """User, password and query stay out of what is stored and printed."""
    address = address_of("https://me:pass@[::1]:8443/v1/?token=x", None, {})
    assert address.shown == "https://[::1]:8443/v1"
    assert "pass" not in repr(address)


def test_a_user_in_the_url_and_a_key_contradict_each_other() -> None:
    """One request carries one authorization."""
    with pytest.raises(ServerError, match="only one"):
        address_of("https://me:pass@example.test/v1", "K", {"K": "k"})


def test_pages_lie_under_the_base_and_keep_its_query() -> None:
    """A slash at the end of the base makes no difference."""
    assert beside("http://a/v1", "/models") == beside("http://a/v1/", "/models")
    assert beside("http://a/v1?version=1", "/models") == "http://a/v1/models?version=1"
    assert beside(root_of("http://a/x/v1/"), "/props") == "http://a/x/props"
    assert beside(root_of("http://a"), "/props") == "http://a/props"
