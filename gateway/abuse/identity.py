"""Who we are in what the desk writes."""

from gateway.abuse.writing import Writer
from gateway.config.models import GatewayConfig


def writer_of(config: GatewayConfig) -> Writer:
    """Return who writes: the reporting sender, else the abuse contact, else the postmaster of this host."""
    contact = config.contact
    return Writer(
        hostname=config.hostname,
        organisation=config.reporting.organisation,
        address=config.reporting.sender or contact.abuse or f"postmaster@{config.hostname}",
        telephone=contact.telephone,
    )


def signature(writer: Writer) -> str:
    """Return the lines that end a letter."""
    return "\n".join(filter(None, (writer.organisation, writer.address, writer.telephone)))
