"""The rules that ship: each fires on what it is for, and none on a colleague's letter."""

import base64
import io
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest

from gateway.admin.rule_trial import Trial, layers_of
from gateway.admin.stored_mail import StoredMail
from gateway.clock import FakeClock
from gateway.config.loader import load
from gateway.filters import catalogue

POLICIES = Path(__file__).parents[2] / "policies"


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("starter")
    (folder / "policies").mkdir()
    (folder / "policies" / "default.toml").write_text((POLICIES / "default.toml").read_text())
    path = folder / "tidegate.toml"
    path.write_text('hostname = "mx.gate.test"\ndata = "var"\n[[listen]]\naddress = "127.0.0.1:0"\n')
    return layers_of(load(path, catalogue()).policies)


@pytest.fixture(scope="module")
def fired(layers):
    trial = Trial(layers, "mx.gate.test", FakeClock())

    def fired(message):
        said = trial.judge(StoredMail("a mail", message.as_bytes()))
        assert (said.temperror, said.limits) == ("", ())
        return {fired.rule.name for fired in said.fired}

    return fired


def mail(subject="minutes of Tuesday", text="Dear all,\nplease find the minutes below.\n", **fields):
    message = EmailMessage()
    message["From"] = fields.pop("author", "Bob Builder <bob@partner.example>")
    message["To"] = "anna@example.com"
    message["Subject"] = subject
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


def with_file(name, octets, kind="application/octet-stream"):
    message = mail()
    main, _, sub = kind.partition("/")
    message.add_attachment(octets, maintype=main, subtype=sub, filename=name)
    return message


def zipped(name, octets, flags=0):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, octets)
    found = bytearray(made.getvalue())
    # APPNOTE 4.4.4: bit 0 of the general purpose flags says encrypted; at 6 of the local, 8 of the central header.
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        found[found.index(signature) + offset] |= flags
    return bytes(found)


def document(*names):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in ("[Content_Types].xml", "word/document.xml", *names):
            archive.writestr(name, "<x/>")
    return made.getvalue()


PROGRAM = b"MZ" + bytes(58) + b"\x40\0\0\0" + b"PE\0\0" + bytes(200)
CASES = {
    "executable attachment": [
        with_file("tool.exe", PROGRAM),
        with_file("open.js", b"WScript.Echo('x')"),
        with_file("a.zip", zipped("tool.exe", PROGRAM)),
    ],
    "double extension": [with_file("invoice.pdf.exe", PROGRAM), with_file("发票.doc.scr", PROGRAM)],
    "macro document": [with_file("plan.docm", document("word/vbaProject.bin"))],
    "password-protected archive": [with_file("a.zip", zipped("list.txt", b"x", flags=1))],
    "bulk mail without a way out": [mail(Precedence="bulk"), mail(List_Id="<news.partner.example>")],
    "代开发票": [
        mail("代开各类发票，可验"),
        mail("代  开 发  票", "您好"),
        mail("您好", "我公司可代开增值税专用发票，先验后付。"),
        mail("帮您开發漂"),
    ],
    "培训广告": [mail("中层管理培训", "课程大纲见附件，欢迎报名。")],
    "群发广告": [mail("邮件群发，效果好"), mail("您好", "专业提供短信群发服务。")],
    "invoices, loans and rankings": [mail("Rank on Google in 30 days"), mail("Guest post on your site?")],
    "impersonated person": [
        mail(author="王小明 <x@freemail.example>"),
        mail(author="Аnna Ехample <x@freemail.example>"),
    ],
    "forged own domain": [mail(author="Anna <anna@example.com>")],
    "look-alike domain": [mail(author="Anna <anna@examp1e.com>")],
}


@pytest.mark.parametrize(("name", "message"), [(name, message) for name, found in CASES.items() for message in found])
def test_a_rule_fires_on_what_it_is_for(fired, name, message):
    assert name in fired(message)


def test_every_rule_has_a_case(layers):
    assert {rule.name for layer in layers for rule in layer.rules} == set(CASES)


LETTERS = [
    mail(),
    mail("会议纪要", "各位同事：\n请查收周二的会议纪要。发票已寄出，请注意查收。\n"),
    mail("发票已开", "您好，您的订单已完成，电子发票请见附件。"),
    mail("Training on Monday", "The training room is booked for the whole day."),
    mail("培训室钥匙", "培训室的钥匙在前台。"),
    mail("Newsletter", "News.\nTo unsubscribe, answer this mail.\n", List_Id="<news.partner.example>"),
    mail("Newsletter", List_Id="<n.partner.example>", List_Unsubscribe="<mailto:off@partner.example>"),
    with_file("report.pdf", b"%PDF-1.4\n%%EOF\n", "application/pdf"),
    with_file("plan.docx", document()),
    with_file("photos.zip", zipped("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(64))),
    with_file("v1.2.pdf", base64.b64decode("JVBERi0xLjQK"), "application/pdf"),
]


@pytest.mark.parametrize("message", LETTERS, ids=range(len(LETTERS)))
def test_none_fires_on_a_colleagues_letter(fired, message):
    assert fired(message) == set()


def test_none_marks_a_mail_by_itself(layers):
    """The default threshold of a tag is 5.0."""
    assert all(rule.action is None and 0 < rule.score < 5.0 for layer in layers for rule in layer.rules)
    assert all(rule.ground is not None for layer in layers for rule in layer.rules)
