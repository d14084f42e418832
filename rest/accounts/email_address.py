"""E-mail addresses: what is taken for one.

Not a proof that somebody reads it, and no grammar of RFC 5322: one ``@``, a local part and a
domain of sensible lengths and characters. Compared without regard to case, kept as it was written.
"""

MAX_CHARS = 320
_MAX_LOCAL, _MAX_DOMAIN, _MAX_LABEL = 64, 253, 63
_FORBIDDEN = frozenset('()<>[]:;,\\"')


def is_email(text: str) -> bool:
    """Whether ``text`` looks like an address; it must have been trimmed."""
    local, at, domain = text.rpartition("@")
    return bool(
        at
        and 1 <= len(local) <= _MAX_LOCAL
        and 1 <= len(domain) <= _MAX_DOMAIN
        and "@" not in local
        and all(char.isprintable() and not char.isspace() for char in text)
        and not _FORBIDDEN.intersection(local)
        and all(_is_label(label) for label in domain.split("."))
    )


def _is_label(label: str) -> bool:
    return (
        1 <= len(label) <= _MAX_LABEL
        and label.replace("-", "a").isalnum()
        and not label.startswith("-")
        and not label.endswith("-")
    )
