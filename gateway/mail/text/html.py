r"""HTML to the text that a reader sees, and what is there besides.

The tokens are those of the HTML standard (https://html.spec.whatwg.org/#tokenization): comments in all their forms,
raw text elements, quoted attributes, character references; so markup that hides text from simple strippers (a ">" in an
attribute, "<!-->", unclosed quotes) hides nothing here, and text that a browser drops is dropped. Elements that begin a
line break it, others join ("V<b></b>iagra"). Text is left out, and reported, when a reader cannot see it:
``display:none``, no size, transparent, off the page, or the colour of its background (``gateway.mail.text.styles``).

Why our own: trees are built in quadratic time when nesting is hostile. selectolax 1.0 (lexbor), otherwise eight times
as fast as this, was measured at 9 s for 400 KB of ``<div>`` and cannot be interrupted; lxml's parser is not that of the
standard, and html.parser takes longer for the tokens alone. Here each character is looked at twice at most, depth is
MAX_DEPTH as in browsers, and MAX_CHARACTERS and MAX_TAGS are read.

Departures, toward showing more text: elements are closed by name, without the standard's cloning of formatting
elements; of style sheets only rules for one class, id or element are followed; scripts do not run.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import unescape
from types import MappingProxyType
from typing import NamedTuple

from gateway.mail.text import styles, urls
from gateway.mail.text.urls import Url

# Readers clip at 100 KB (Gmail) to 1 MB; the worst input of this size takes 0.2 s.
MAX_CHARACTERS = 512 * 1024
MAX_TAGS = 40_000
# Chrome and Firefox flatten deeper elements.
MAX_DEPTH = 512
# Links beyond it have been preceded by enough to judge by.
MAX_LINKS = 1000
# Twice what ``urls`` looks at, for white space and controls that browsers skip.
MAX_VALUE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One place where HTML leads or loads from: ``element`` such as "a", ``text`` what the reader sees of a link."""

    url: Url
    element: str
    text: str = ""


class _Href(NamedTuple):
    """A link as written; its text stands in the pieces from ``start`` to ``end``."""

    value: str
    element: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HtmlText:
    """What HTML shows and has.

    ``text`` is what a reader sees, with line ends where the page has them. ``hidden`` is what is there and not seen, in
    order, and ``tricks`` how it was hidden: words of ``styles.TRICKS``. ``title`` and ``alt`` (texts in place of
    images) are in neither. ``truncated`` says which limit ended the reading: "", "characters", "tags".
    """

    text: str
    hidden: str = ""
    tricks: frozenset[str] = frozenset()
    hrefs: Sequence["_Href"] = ()
    pieces: Sequence[str] = field(default=(), repr=False)
    title: str = ""
    alt: str = ""
    images: int = 0
    forms: int = 0
    scripts: int = 0
    frames: int = 0
    truncated: str = ""

    @property
    def links(self) -> tuple[Link, ...]:
        """Where it leads and what it loads, in order; at most MAX_LINKS. Parsed when asked for."""
        parsed = ((urls.parse(href.value), href) for href in self.hrefs)
        return tuple(Link(url=url, element=href.element, text=self._text_of(href)) for url, href in parsed if url)

    def _text_of(self, href: _Href) -> str:
        return " ".join("".join(self.pieces[href.start : href.end]).split())

    @property
    def urls(self) -> tuple[Url, ...]:
        """Where it leads and what it loads, each once, in order; targets of redirectors after them."""
        found: dict[Url, None] = {}
        for href in self.hrefs:
            if url := urls.parse(href.value):
                found[url] = None
                found.update(dict.fromkeys(urls.within(url)))
        return tuple(found)


def to_text(markup: str) -> HtmlText:
    """Return what a reader sees of ``markup``."""
    return _Page(markup).read()


_META_CHARSET = re.compile(
    rb"(?i)<meta\b[^>]{0,512}charset\s{0,16}=\s{0,16}[\"']?\s{0,16}([A-Za-z0-9_:.-]{1,64})",
)
# https://html.spec.whatwg.org/#prescan-a-byte-stream-to-determine-its-encoding
_PRESCAN_OCTETS = 1024


def declared_charset(octets: bytes) -> str:
    """Return the charset that a document names in its ``meta`` element, "" for none: for parts that declare none."""
    found = _META_CHARSET.search(octets[:_PRESCAN_OCTETS])
    return found[1].decode("ascii") if found else ""


# --- Tokens.

# The text before a "<", and what the "<" begins: a tag with its attributes, a comment, something bogus, a tag that is
# never closed. Possessive throughout: each character is looked at twice at most.
_TOKEN = re.compile(
    r"([^<]*+)<(?:(/?)([A-Za-z][^\s/>]*+)"
    r"((?:[^>=]++|=\s*+(?:\"[^\"]*+\"|'[^']*+'|(?![\"'])[^\s>]*+))*+)>|(!--|[!?]|/(?![A-Za-z])|/?[A-Za-z]|))"
)
_ATTRIBUTE = re.compile(r"([^\s/>=][^\s/>=]*+)(?:\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s>]*+)))?+")
_COMMENT_END = re.compile(r"--!?>")
_EMPTY_COMMENT = re.compile(r"-?>")
# Line ends in the markup are white space; those of the page are this until it is put together.
_BREAK = "\x1e"

_RAW = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes", "textarea", "title"})
_SHOWN_RAW = frozenset({"xmp", "textarea"})
_RAW_END = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _RAW}
_VOID = frozenset(
    {"area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "keygen", "link"}
    | {"meta", "param", "source", "track", "wbr"}
)
_BLOCK = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir", "div"}
    | {"dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head"}
    | {"header", "hgroup", "html", "legend", "li", "listing", "main", "menu", "nav", "ol", "optgroup", "option", "p"}
    | {"pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul", "xmp"}
)
_CELL = frozenset({"td", "th"})
_CLOSING_BLOCKS = _BLOCK | _CELL
# Elements whose end tags may be left out: what a start tag closes, and where the search for it ends.
_TABLE = frozenset({"table"})
_LISTS = frozenset({"ul", "ol", "menu", "dir"})
_ENDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = MappingProxyType(
    {
        "li": (frozenset({"li"}), _LISTS),
        "dt": (frozenset({"dt", "dd"}), frozenset({"dl"})),
        "dd": (frozenset({"dt", "dd"}), frozenset({"dl"})),
        "td": (_CELL, _TABLE | {"tr"}),
        "th": (_CELL, _TABLE | {"tr"}),
        "tr": (frozenset({"tr"}), _TABLE | {"tbody", "thead", "tfoot"}),
        "option": (frozenset({"option"}), frozenset({"select"})),
    }
)
_CLOSES_P = (
    _BLOCK - {"body", "caption", "head", "html", "legend", "optgroup", "option"} - {"tbody", "tfoot", "thead", "tr"}
)
_P = (frozenset({"p"}), _CELL | {"table", "caption", "button", "object", "html", "body"})
# How far up an end tag left out is looked for; whoever nests deeper inside a paragraph is hiding something else.
_NEAR = 32


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a tag of one name does."""

    name: str
    breaks: str = ""
    void: bool = False
    raw: bool = False
    # What it closes: names, and where the search ends.
    closes: tuple[frozenset[str], frozenset[str]] | None = None
    # The element counted, "" for none.
    counted: str = ""
    is_link: bool = False
    preformatted: bool = False


_COUNTED = frozenset({"img", "form", "script", "iframe"})


# Names are the sender's: most are among a hundred.
@lru_cache(maxsize=512)
def _plan(written: str) -> _Plan:
    name = written.lower()
    breaks = _BREAK if name in _BLOCK or name in _BREAKS else " " if name in _CELL else ""
    return _Plan(
        name=name,
        breaks=breaks,
        void=name in _VOID,
        raw=name in _RAW,
        closes=_ENDS.get(name) or (_P if name in _CLOSES_P else None),
        counted=name if name in _COUNTED else "",
        is_link=name in ("a", "area"),
        preformatted=name == "pre",
    )


_URL_ATTRIBUTES = frozenset(
    {"href", "src", "action", "formaction", "background", "poster", "data", "cite", "longdesc", "xlink:href", "lowsrc"}
    | {"dynsrc", "usemap", "codebase", "classid", "manifest", "ping"}
)
# Attributes that are looked at beside those of style.
_LEADING = _URL_ATTRIBUTES | {"srcset", "style", "content", "alt"}
_REFRESH = re.compile(r"(?i)url\s*+=\s*+[\"']?([^\"'>]+)")
_CSS_URL = re.compile(r"(?i)url\(\s*+[\"']?([^\"')]{1,2048})")
_DIGITS = re.compile(r"&#0*+([0-9]{8,})")


class _Tag(NamedTuple):
    """A start tag as written: ``leads`` where an attribute may lead somewhere; ``declared`` is its style or ""."""

    plan: _Plan
    attributes: Mapping[str, str]
    leads: bool
    declared: str


class _Page:
    """One reading: the open elements, and what was gathered."""

    def __init__(self, markup: str) -> None:
        self._markup = markup[:MAX_CHARACTERS].replace(_BREAK, "")
        self._truncated = "characters" if len(markup) > MAX_CHARACTERS else ""
        self._look = styles.PLAIN
        # Names of the open elements, and how it looked before each.
        self._open: list[str] = []
        self._before: list[styles.Look] = []
        self._flattened = 0
        self._pieces: list[str] = []
        self._hidden: list[str] = []
        self._tricks: set[str] = set()
        self._links: list[_Href] = []
        self._anchor = -1
        self._alt: list[str] = []
        self._title = ""
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._sheet = styles.Sheet()
        self._preformatted = 0
        # By name and attributes as written: a page repeats itself.
        self._tags: dict[tuple[str, str], _Tag] = {}

    def read(self) -> HtmlText:
        """Read the whole of it."""
        markup = self._markup
        end = len(markup)
        at = 0
        for _ in range(MAX_TAGS):
            match = _TOKEN.match(markup, at)
            if match is None:
                self._text(markup[at:])
                break
            text, close, name, attributes, other = match.groups()
            if text:
                self._text(text)
            at = match.end()
            if name is None:
                at = self._other(other, at)
            elif close:
                self._end_tag(_plan(name))
            else:
                tag = self._tags.get((name, attributes)) or self._tag(name, attributes)
                self._start_tag(tag)
                if tag.plan.raw:
                    at = self._raw(tag.plan.name, at)
            if at >= end:
                break
        else:
            self._truncated = self._truncated or "tags"
        return self._result()

    def _result(self) -> HtmlText:
        self._end_link()
        return HtmlText(
            text=_laid_out("".join(self._pieces)),
            hidden=" ".join("".join(self._hidden).split()),
            tricks=frozenset(self._tricks),
            hrefs=self._links,
            pieces=self._pieces,
            title=self._title,
            alt="\n".join(self._alt),
            images=self._counts["img"],
            forms=self._counts["form"],
            scripts=self._counts["script"],
            frames=self._counts["iframe"],
            truncated=self._truncated,
        )

    # --- Tokens.

    def _other(self, begun: str, at: int) -> int:
        """Take what is not a tag; ``at`` is where its beginning ends. Return where to go on."""
        if begun == "":
            self._text("<")
            return at
        if begun == "!--":
            found = _EMPTY_COMMENT.match(self._markup, at) or _COMMENT_END.search(self._markup, at)
            return found.end() if found else len(self._markup)
        if begun in ("!", "?", "/"):
            end = self._markup.find(">", at)
            return end + 1 if end >= 0 else len(self._markup)
        # The standard drops a tag that the document ends in, and so all that follows a quote that is never closed.
        return len(self._markup)

    def _raw(self, name: str, at: int) -> int:
        """Take the text of an element that holds no markup; return where its end tag begins."""
        found = _RAW_END[name].search(self._markup, at)
        end = found.start() if found else len(self._markup)
        content = self._markup[at:end]
        if name in _SHOWN_RAW:
            self._text(content)
        elif name == "title":
            self._title = self._title or " ".join(_unescaped(content).split())
        elif name == "style":
            self._sheet.add(content)
            self._tags.clear()
        return end

    def _text(self, raw: str) -> None:
        text = _unescaped(raw) if "&" in raw else raw
        if self._preformatted:
            text = text.replace("\n", _BREAK)
        trick = self._look.trick
        if not trick:
            self._pieces.append(text)
            return
        self._hidden.append(text)
        if text.strip():
            self._tricks.add(trick)

    # --- Elements.

    def _start_tag(self, tag: _Tag) -> None:
        plan = tag.plan
        if plan.breaks:
            (self._hidden if self._look.trick else self._pieces).append(plan.breaks)
        if plan.closes and self._open:
            self._close_near(*plan.closes)
        if plan.counted:
            self._counts[plan.counted] += 1
        if tag.leads:
            self._note(plan, tag.attributes)
        if plan.void:
            return
        if len(self._open) >= MAX_DEPTH:
            self._flattened += 1
            return
        self._open.append(plan.name)
        self._before.append(self._look)
        if plan.preformatted:
            self._preformatted += 1
        if tag.declared:
            self._look = self._sheet.look(self._look, tag.declared)

    def _end_tag(self, plan: _Plan) -> None:
        if plan.breaks:
            (self._hidden if self._look.trick else self._pieces).append(plan.breaks)
        opened = self._open
        if self._flattened:
            self._flattened -= 1
        elif opened and opened[-1] == plan.name:
            opened.pop()
            self._look = self._before.pop()
            if plan.is_link:
                self._end_link()
            elif plan.preformatted:
                self._preformatted -= 1
        elif plan.name in _CLOSING_BLOCKS:
            if plan.name in opened:
                self._pop_to(len(opened) - 1 - opened[::-1].index(plan.name))
        else:
            # An inline element's end does not close the blocks that were opened in it.
            self._close_near(frozenset((plan.name,)), _CLOSING_BLOCKS)

    def _close_near(self, names: frozenset[str], scope: frozenset[str]) -> None:
        opened = self._open
        for depth in range(len(opened) - 1, max(-1, len(opened) - _NEAR), -1):
            if opened[depth] in names:
                self._pop_to(depth)
                return
            if opened[depth] in scope:
                return

    def _pop_to(self, depth: int) -> None:
        self._look = self._before[depth]
        closed = self._open[depth:]
        del self._open[depth:], self._before[depth:]
        if "a" in closed:
            self._end_link()
        if self._preformatted:
            self._preformatted -= closed.count("pre")

    # --- Attributes.

    def _tag(self, name: str, raw: str) -> _Tag:
        """Return what a start tag means; one as written is understood once, until a style sheet changes it."""
        plan = _plan(name)
        attributes: dict[str, str] = {}
        for attribute, double, single, bare in _ATTRIBUTE.findall(raw) if raw else ():
            value = double or single or bare
            # The first of two attributes of one name counts.
            attributes.setdefault(attribute.lower(), _unescaped(value) if "&" in value else value)
        declared = "" if plan.void else self._sheet.declared(plan.name, attributes)
        tag = self._tags[name, raw] = _Tag(plan, attributes, not _LEADING.isdisjoint(attributes), declared)
        return tag

    def _note(self, plan: _Plan, attributes: Mapping[str, str]) -> None:
        """Gather where an element leads and what it loads."""
        for attribute, value in attributes.items():
            if attribute in _URL_ATTRIBUTES:
                self._link(plan, value)
            elif attribute == "srcset":
                for candidate in value.split(",")[:_MAX_CANDIDATES]:
                    self._link(plan, candidate.strip().partition(" ")[0])
            elif attribute == "style" and "url(" in value.lower():
                for target in _CSS_URL.findall(value):
                    self._link(plan, target)
            elif attribute == "content" and plan.name == "meta" and (found := _REFRESH.search(value)):
                self._link(plan, found[1])
            elif attribute == "alt" and value and not self._look.trick:
                self._alt.append(" ".join(value.split()))

    def _link(self, plan: _Plan, value: str) -> None:
        if len(self._links) >= MAX_LINKS:
            return
        if plan.is_link:
            self._end_link()
            self._anchor = len(self._links)
        self._links.append(_Href(value[:MAX_VALUE], plan.name, len(self._pieces), 0))

    def _end_link(self) -> None:
        if self._anchor >= 0:
            self._links[self._anchor] = self._links[self._anchor]._replace(end=len(self._pieces))
            self._anchor = -1


# Widths of one image.
_MAX_CANDIDATES = 16
_BREAKS = frozenset({"br", "hr"})


def _laid_out(text: str) -> str:
    """Return the text of a page with its breaks as line ends and its white space as a page shows it."""
    for space in "\t\r\n\f":
        text = text.replace(space, " ")
    # Each turn halves every run: of the longest there are 19.
    while "  " in text:
        text = text.replace("  ", " ")
    return "\n".join(filter(None, map(str.strip, text.split(_BREAK))))


def _unescaped(text: str) -> str:
    # Numbers beyond Unicode become U+FFFD all the same; Python refuses to convert very long ones.
    return unescape(_DIGITS.sub("&#99999999", text) if "&#" in text else text)
