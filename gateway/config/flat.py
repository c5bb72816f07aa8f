"""A snapshot's values as an administrator would write them: plain tables, and one value a key."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.filter_settings import ANTIVIRUS, on_words, options_table
from gateway.config.models import GatewayConfig
from gateway.config.problem import Path
from gateway.config.units import format_duration, format_size
from gateway.policy.domain_policy import DomainPolicy, RecipientCheck


def config_table(config: GatewayConfig) -> dict[str, Any]:
    """Return ``tidegate.toml`` with every key; what has no value (``tls``) is left out."""
    return config.model_dump(mode="json", exclude_none=True)


def policy_table(policy: DomainPolicy) -> dict[str, Any]:
    """Return a merged policy as one file would say it, but its rules, which no file says together.

    ``max_message`` and ``rules_off`` are left out when there is none.
    """
    off = {name: False for name in ("tag", "quarantine", "reject") if getattr(policy.thresholds, name) is None}
    thresholds = policy.thresholds
    return {
        "domains": list(policy.domains),
        "customer": policy.customer,
        "next_hop": [hop.url for hop in policy.next_hop],
        "next_hop_owner": policy.next_hop_owner,
        "incidents": {
            "confirm": policy.incidents.confirm,
            "confirm_virus": policy.incidents.confirm_virus,
            "window": format_duration(policy.incidents.window_seconds),
            "block": policy.incidents.block,
        },
        "recipients": _recipients(policy.recipients),
        **({} if policy.max_message is None else {"max_message": format_size(policy.max_message)}),
        **({"rules_off": sorted(policy.rules_off)} if policy.rules_off else {}),
        "scores": {
            "tag": thresholds.tag,
            "quarantine": thresholds.quarantine,
            "reject": thresholds.reject,
            **off,
            "subject_tag": policy.subject_tag,
        },
        **({ANTIVIRUS: options_table(policy.filters[ANTIVIRUS].options)} if ANTIVIRUS in policy.filters else {}),
        "filters": {
            name: {
                "enabled": setting.enabled,
                **(options_table(setting.options) if name != ANTIVIRUS else {}),
                "on": on_words(setting.on),
            }
            for name, setting in policy.filters.items()
        },
    }


def _recipients(check: RecipientCheck) -> str:
    return f"list:{check.source}" if check.mode == "list" else check.mode


def leaves(table: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield (path, value) of every value; a list is one value, but for a list of tables."""
    for key, value in table.items():
        here: Path = (*path, key)
        if isinstance(value, Mapping):
            yield from leaves(value, here)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for index, element in enumerate(value):
                yield from leaves(element, (*here, index))
        else:
            yield here, value
