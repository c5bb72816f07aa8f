"""The node's configuration as the antivirus takes it."""

from pathlib import Path

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.desk import AntivirusSettings
from gateway.antivirus.scanner import ScannerLimits
from gateway.antivirus.signatures import AgeLimits
from gateway.config.models import GatewayConfig


def history_folder(config: GatewayConfig) -> Path:
    """Return where the history of signatures lies."""
    return config.data / "antivirus"


def antivirus_settings(config: GatewayConfig, history: Path | None = None) -> AntivirusSettings:
    """Return the settings of one process; ``history`` is for the one that writes it."""
    clamd = config.clamd
    return AntivirusSettings(
        scanners=tuple(ScannerAddress.parse(address) for address in clamd.address),
        limits=ScannerLimits(timeout_seconds=clamd.timeout, sessions=clamd.sessions),
        ages=AgeLimits(old_seconds=clamd.signatures_old, breach_seconds=clamd.signatures_breach),
        most_octets=config.max_message,
        contact=contact_of(config),
        cache_entries=clamd.cache,
        history=history if clamd.address else None,
    )


def contact_of(config: GatewayConfig) -> str:
    """Return whom recipients of notices may ask."""
    return config.contact.postmaster or f"postmaster@{config.hostname}"
