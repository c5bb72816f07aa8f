"""How an element looks, as far as it decides whether its text can be seen: own style, attributes, what it inherits.

Followed: ``style`` attributes, ``hidden``, ``<font color size>``, ``bgcolor``, ``<body text>``, and of style sheets the
rules for one class, id or element outside of any @-rule: what is hidden on narrow screens only is not hidden. Sources:
CSS 2.2 §9 to §18, CSS Color 4 for the ways of writing a colour.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

# How text is hidden.
TRICKS = ("display-none", "zero-size", "transparent", "off-screen", "same-colour")

Colour = tuple[int, int, int]


class _Word(Enum):
    """What is declared as a colour without being one."""

    TRANSPARENT = 0
    # An image, a gradient.
    UNKNOWN = 1


# The sum of three differences below which nobody can read: #f0f0f0 on white is 45.
_NEAR_COLOUR = 48
# In pixels or points: one is a line that looks like a rule, two are the smallest letters that can be told apart.
_TINY = 1.0
# Farther out than any page's margin.
_FAR_OUT = -400.0
# A sheet of a newsletter has 50 rules; an inline style 10 declarations.
_MAX_RULES = 500
_MAX_STYLE = 4096
_MAX_CLASSES = 16
# Different styles of one document, 40 µs each; the longest newsletters have 200. Beyond it styles are not followed.
_MAX_LOOKS = 1000


@dataclass(frozen=True, slots=True)
class Look:
    """What text looks like: ``gone`` is a trick that no descendant can undo, ``unseen`` one that its own style can."""

    gone: str = ""
    unseen: str = ""
    tiny: bool = False
    colour: Colour | None = (0, 0, 0)
    # None: an image or a gradient, which nobody can say anything about.
    background: Colour | None = (255, 255, 255)
    # How this text is hidden, "" when it is seen.
    trick: str = ""


PLAIN = Look()


@dataclass(frozen=True, slots=True)
class _Own:
    """What one element's declarations say; None for what they do not mention."""

    gone: str = ""
    unseen: str | None = None
    tiny: bool | None = None
    colour: Colour | _Word | None = None
    background: Colour | _Word | None = None


class Sheet:
    """The rules of a document's ``style`` elements that concern one class, id or element."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}
        # By parent and declarations: a page has few of either.
        self._looks: dict[tuple[int, str], Look] = {}

    def add(self, css: str) -> None:
        """Take a ``style`` element's content."""
        for selectors, declarations in _rules(_without_comments(css)):
            for selector in selectors.lower().split(","):
                name = selector.strip()
                if _SIMPLE.fullmatch(name) and len(self._rules) < _MAX_RULES:
                    self._rules[name] = f"{self._rules.get(name, '')};{declarations}"[-_MAX_STYLE:]

    def declared(self, name: str, attributes: Mapping[str, str]) -> str:
        """Return what is declared of an element ``name`` with ``attributes``, "" for nothing."""
        declared = attributes.get("style", "")
        if not _OTHERS.isdisjoint(attributes) or name in self._rules:
            return ";".join((*self._ruled(name, attributes), *_attributed(name, attributes), declared))
        return declared

    def look(self, parent: Look, declared: str) -> Look:
        """Return the look of the text in an element of which so much is declared."""
        key = (id(parent), declared)
        look = self._looks.get(key)
        if look is None:
            if len(self._looks) >= _MAX_LOOKS:
                return parent
            own = _own(declared[-_MAX_STYLE:])
            look = self._looks[key] = parent if own is _NOTHING else _combined(parent, own)
        return look

    def _ruled(self, name: str, attributes: Mapping[str, str]) -> Iterator[str]:
        rules = self._rules
        if not rules:
            return
        names = [name]
        for style_class in attributes.get("class", "").lower().split()[:_MAX_CLASSES]:
            names += (f".{style_class}", f"{name}.{style_class}")
        if "id" in attributes:
            identity = attributes["id"].lower()
            names += (f"#{identity}", f"{name}#{identity}")
        yield from (rules[selector] for selector in names if selector in rules)


_SIMPLE = re.compile(r"[a-z][a-z0-9]*|[a-z0-9]*[.#][\w-]+")
_BRACE = re.compile(r"[{}]")


def _without_comments(css: str) -> str:
    first, *rest = css.split("/*")
    return " ".join((first, *(piece.partition("*/")[2] for piece in rest)))


def _rules(css: str) -> Iterator[tuple[str, str]]:
    """Yield selector and declarations of each rule that is in no @-rule."""
    depth = 0
    start = 0
    selector = ""
    for brace in _BRACE.finditer(css):
        if brace[0] == "{":
            if depth == 0:
                selector = css[start : brace.start()].replace("<!--", "").replace("-->", "").rpartition(";")[2].strip()
                start = brace.end()
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                if not selector.startswith("@"):
                    yield selector, css[start : brace.start()]
                start = brace.end()


_OTHERS = frozenset({"class", "id", "hidden", "color", "text", "bgcolor", "background", "size"})


def _attributed(name: str, attributes: Mapping[str, str]) -> Iterator[str]:
    """Yield what attributes say, as declarations; ``style`` comes after and overrides them."""
    if "hidden" in attributes:
        yield "display:none"
    if "color" in attributes and name in ("font", "basefont"):
        yield f"color:{_legacy(attributes['color'])}"
    if "text" in attributes and name == "body":
        yield f"color:{_legacy(attributes['text'])}"
    if "bgcolor" in attributes:
        yield f"background-color:{_legacy(attributes['bgcolor'])}"
    if "background" in attributes:
        yield "background-image:url()"
    if attributes.get("size", "").strip() == "0" and name == "font":
        yield "font-size:0"


def _legacy(colour: str) -> str:
    # https://html.spec.whatwg.org/#rules-for-parsing-a-legacy-colour-value: the number sign may be missing.
    colour = colour.strip()
    return f"#{colour}" if _HEX.fullmatch(colour) else colour


_NOTHING = _Own()


@lru_cache(maxsize=1024)
def _own(declarations: str) -> _Own:
    values = _values(declarations.lower())
    own = _Own(
        gone=_gone(values),
        unseen=_unseen(values),
        tiny=_is_tiny(values.get("font-size", "")),
        colour=_colour_or_unknown(values.get("color", "")),
        background=_background(values),
    )
    return _NOTHING if own == _NOTHING else own


_COMMENT = re.compile(r"/\*[^*]*+\*++(?:[^/*][^*]*+\*++)*+/")


def _values(declarations: str) -> dict[str, str]:
    values: dict[str, str] = {}
    important: set[str] = set()
    if "/*" in declarations:
        declarations = _COMMENT.sub("", declarations)
    for declaration in declarations.split(";"):
        name, _, value = declaration.partition(":")
        name, value = name.strip(), value.strip()
        if value.endswith("important"):
            value = value.removesuffix("important").rstrip(" !")
            important.add(name)
        elif name in important:
            continue
        values[name] = value
    return values


def _gone(values: Mapping[str, str]) -> str:
    if values.get("display") == "none":
        return "display-none"
    if _number(values.get("opacity", "")) == 0:
        return "transparent"
    if _is_clipped(values):
        return "zero-size"
    return "off-screen" if _is_outside(values) else ""


def _is_clipped(values: Mapping[str, str]) -> bool:
    if values.get("clip", "").replace(" ", "").replace("px", "").startswith(("rect(0,0,0,0", "rect(1,1,1,1")):
        return True
    sides = (values.get(side, "") for side in ("height", "width", "max-height", "max-width"))
    return values.get("overflow") == "hidden" and any(map(_is_zero, sides))


def _is_outside(values: Mapping[str, str]) -> bool:
    names = ["text-indent", "margin-left"]
    if values.get("position") in ("absolute", "fixed", "relative"):
        names += ("left", "top", "right", "bottom")
    return any(_is_far_out(values.get(name, "")) for name in names)


def _unseen(values: Mapping[str, str]) -> str | None:
    visibility = values.get("visibility")
    if visibility in ("hidden", "collapse"):
        return "display-none"
    return "" if visibility == "visible" else None


_LENGTH = re.compile(r"(-?[0-9]{0,9}(?:\.[0-9]{1,9})?)(px|pt|em|ex|rem|%|vw|vh)?")


def _number(value: str) -> float | None:
    match = _LENGTH.fullmatch(value)
    try:
        return float(match[1]) if match else None
    except ValueError:
        return None


def _is_zero(value: str) -> bool:
    return _number(value) == 0


def _is_far_out(value: str) -> bool:
    number = _number(value)
    return number is not None and number <= _FAR_OUT


def _is_tiny(value: str) -> bool | None:
    number = _number(value)
    if number is None:
        return False if value in _SIZES else None
    if value.endswith(("em", "%", "ex", "vw", "vh")) and not value.endswith("rem"):
        # Relative to what is inherited: nothing times anything stays nothing.
        return True if number == 0 else None
    return number <= _TINY


_SIZES = frozenset({"xx-small", "x-small", "small", "medium", "large", "x-large", "xx-large"})


def _background(values: Mapping[str, str]) -> Colour | _Word | None:
    image = values.get("background-image", "") + values.get("background", "")
    if "url(" in image or "gradient" in image:
        return _Word.UNKNOWN
    if "background-color" in values:
        return _colour_or_unknown(values["background-color"])
    for word in _WORDS.findall(values.get("background", "")):
        if colour := _colour(word):
            return colour
    return None


_WORDS = re.compile(r"rgba?\([^)]{0,64}\)|[^\s]+")
_HEX = re.compile(r"[0-9a-fA-F]{3,8}")
_RGB = re.compile(
    r"rgba?\(\s*([0-9.]{1,8})(%?)[\s,]+([0-9.]{1,8})%?[\s,]+([0-9.]{1,8})%?(?:[\s,/]+([0-9.]{1,8})(%?))?\s*\)"
)
_NAMES: Mapping[str, Colour] = {
    "white": (255, 255, 255),
    "snow": (255, 250, 250),
    "ivory": (255, 255, 240),
    "ghostwhite": (248, 248, 255),
    "whitesmoke": (245, 245, 245),
    "floralwhite": (255, 250, 240),
    "mintcream": (245, 255, 250),
    "azure": (240, 255, 255),
    "black": (0, 0, 0),
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "lime": (0, 255, 0),
    "blue": (0, 0, 255),
    "navy": (0, 0, 128),
    "yellow": (255, 255, 0),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "maroon": (128, 0, 0),
    "gray": (128, 128, 128),
    "grey": (128, 128, 128),
    "silver": (192, 192, 192),
    "lightgray": (211, 211, 211),
    "lightgrey": (211, 211, 211),
    "gainsboro": (220, 220, 220),
    "darkgray": (169, 169, 169),
    "teal": (0, 128, 128),
    "aqua": (0, 255, 255),
    "cyan": (0, 255, 255),
    "fuchsia": (255, 0, 255),
    "magenta": (255, 0, 255),
    "olive": (128, 128, 0),
}


def _colour_or_unknown(value: str) -> Colour | _Word | None:
    return _Word.TRANSPARENT if value == "transparent" else _colour(value)


def _colour(value: str) -> Colour | _Word | None:
    """Return a colour, or None for what is not one that is known here."""
    if value in _NAMES:
        return _NAMES[value]
    if value.startswith("#") and _HEX.fullmatch(value[1:]):
        return _hexadecimal(value[1:])
    match = _RGB.fullmatch(value)
    return _rgb(match) if match else None


def _hexadecimal(digits: str) -> Colour | _Word | None:
    if len(digits) in (3, 4):
        digits = "".join(digit * 2 for digit in digits)
    if len(digits) not in (6, 8):
        return None
    if digits[6:] == "00":
        return _Word.TRANSPARENT
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def _rgb(match: re.Match[str]) -> Colour | _Word | None:
    scale = 2.55 if match[2] else 1.0
    try:
        red, green, blue = (min(255, round(float(match[part]) * scale)) for part in (1, 3, 4))
        alpha = float(match[5]) if match[5] else 1.0
    except ValueError:
        return None
    return (red, green, blue) if alpha else _Word.TRANSPARENT


@lru_cache(maxsize=1024)
def _combined(parent: Look, own: _Own) -> Look:
    look = replace(
        parent,
        gone=parent.gone or own.gone,
        unseen=parent.unseen if own.unseen is None else own.unseen,
        tiny=parent.tiny if own.tiny is None else own.tiny,
        colour=_inherited(parent.colour, own.colour, None),
        background=_inherited(parent.background, own.background, parent.background),
    )
    return replace(look, trick=_trick(look))


def _inherited(parent: Colour | None, own: Colour | _Word | None, behind: Colour | None) -> Colour | None:
    if own is None:
        return parent
    if own is _Word.TRANSPARENT:
        return behind
    return None if own is _Word.UNKNOWN else own


def _trick(look: Look) -> str:
    if look.gone or look.unseen:
        return look.gone or look.unseen
    if look.tiny:
        return "zero-size"
    if look.colour is None:
        return "transparent"
    if look.background is None:
        return ""
    difference = sum(abs(one - other) for one, other in zip(look.colour, look.background, strict=True))
    return "same-colour" if difference <= _NEAR_COLOUR else ""
