"""``[rules] hyperscan`` on the running program: it says what it compiled, and mail fares as without."""

from collections.abc import Callable

import pytest

from tests.system.parts import Gateway, message, received, settings, to_maildir, until

pytest.importorskip("hyperscan", reason="hyperscan is not installed: pip install 'tidegate[hyperscan]'")

RULES = "".join(
    f'[[rule]]\nname = "digits-{count}"\nwhen = {{ text = {{ matches = "\\\\b[0-9]{{{count}}}\\\\b" }} }}\nscore = 6\n'
    for count in range(5, 17)
)


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    found = shared_gateway()
    box = to_maildir("box.test", more=RULES)
    found.configure(settings(more="[rules]\nhyperscan = true\n"), {"box": box})
    return found.start()


def test_the_rules_are_compiled_and_fire(gateway: Gateway) -> None:
    [line] = until(lambda: gateway.lines("state=accelerated"), what=gateway.log)
    assert "12 of 12 patterns without fixed text" in line
    assert gateway.mail("a@box.test", content=message() + b"Account 1234567890.\r\n").startswith("250 2.0.0")
    [stored] = gateway.await_maildir("a@box.test")
    assert "rule.digits-10=6" in received(stored)["X-Spam-Status"]
    assert "rule.digits-11" not in received(stored)["X-Spam-Status"]
