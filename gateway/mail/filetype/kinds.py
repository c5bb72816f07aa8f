"""The kinds of file that are told apart: their media types, families, and the extensions that promise them."""

from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """One kind: ``family`` groups kinds, ``extensions`` are the names that such content honestly has."""

    media_type: str
    family: str
    extensions: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "empty": Kind("application/x-empty", "data"),
    "data": Kind("application/octet-stream", "data"),
    "text": Kind(
        "text/plain", "text", ("txt", "csv", "log", "md", "ini", "conf", "tsv", "srt", "asc", "pem", "eml", "ics")
    ),
    # Programs.
    "pe": Kind(
        "application/vnd.microsoft.portable-executable", "executable", ("exe", "dll", "scr", "sys", "cpl", "ocx")
    ),
    "dos": Kind("application/x-dosexec", "executable", ("exe", "com")),
    "elf": Kind("application/x-executable", "executable", ("so", "o", "elf", "bin")),
    "macho": Kind("application/x-mach-binary", "executable", ("dylib",)),
    "java-class": Kind("application/java-vm", "executable", ("class",)),
    "dex": Kind("application/x-dex", "executable", ("dex",)),
    "wasm": Kind("application/wasm", "executable", ("wasm",)),
    "jar": Kind("application/java-archive", "executable", ("jar", "war", "ear")),
    "apk": Kind("application/vnd.android.package-archive", "executable", ("apk",)),
    "msix": Kind("application/msix", "executable", ("msix", "appx", "msixbundle", "appxbundle")),
    "msi": Kind("application/x-msi", "executable", ("msi", "msp", "mst")),
    "deb": Kind("application/vnd.debian.binary-package", "executable", ("deb",)),
    "rpm": Kind("application/x-rpm", "executable", ("rpm",)),
    "lnk": Kind("application/x-ms-shortcut", "executable", ("lnk",)),
    "chm": Kind("application/vnd.ms-htmlhelp", "executable", ("chm",)),
    "swf": Kind("application/vnd.adobe.flash.movie", "executable", ("swf",)),
    "script": Kind("text/x-script", "script", ("sh", "py", "pl", "rb", "bash", "command")),
    "url-shortcut": Kind("application/x-mswinurl", "script", ("url", "website")),
    "encoded-script": Kind("text/x-encoded-script", "script", ("vbe", "jse")),
    # Archives.
    "zip": Kind("application/zip", "archive", ("zip", "zipx", "kmz", "cbz")),
    "rar": Kind("application/vnd.rar", "archive", ("rar", "cbr", "r00", "r01")),
    "7z": Kind("application/x-7z-compressed", "archive", ("7z",)),
    "gzip": Kind("application/gzip", "archive", ("gz", "tgz", "svgz", "emz", "taz")),
    "bzip2": Kind("application/x-bzip2", "archive", ("bz2", "tbz", "tbz2", "bz")),
    "xz": Kind("application/x-xz", "archive", ("xz", "txz")),
    "zstd": Kind("application/zstd", "archive", ("zst", "tzst")),
    "lz4": Kind("application/x-lz4", "archive", ("lz4",)),
    "lzip": Kind("application/x-lzip", "archive", ("lz", "tlz")),
    "compress": Kind("application/x-compress", "archive", ("z", "taz")),
    "tar": Kind("application/x-tar", "archive", ("tar", "gem")),
    "cab": Kind("application/vnd.ms-cab-compressed", "archive", ("cab", "msu")),
    "arj": Kind("application/x-arj", "archive", ("arj",)),
    "lha": Kind("application/x-lzh-compressed", "archive", ("lzh", "lha")),
    "ace": Kind("application/x-ace-compressed", "archive", ("ace",)),
    "ar": Kind("application/x-archive", "archive", ("a", "ar", "lib")),
    "cpio": Kind("application/x-cpio", "archive", ("cpio",)),
    "xar": Kind("application/x-xar", "archive", ("xar", "pkg")),
    "zoo": Kind("application/x-zoo", "archive", ("zoo",)),
    "iso": Kind("application/x-iso9660-image", "archive", ("iso", "img", "udf")),
    "vhd": Kind("application/x-vhd", "archive", ("vhd",)),
    "vhdx": Kind("application/x-vhdx", "archive", ("vhdx",)),
    "dmg": Kind("application/x-apple-diskimage", "archive", ("dmg",)),
    "tnef": Kind("application/vnd.ms-tnef", "archive", ("dat", "tnef")),
    # Documents.
    "pdf": Kind("application/pdf", "document", ("pdf", "ai")),
    "postscript": Kind("application/postscript", "document", ("ps", "eps", "ai")),
    "rtf": Kind("application/rtf", "document", ("rtf", "doc")),
    "html": Kind("text/html", "document", ("html", "htm", "xhtml", "shtml", "hta", "mht", "mhtml", "doc", "xls")),
    "xml": Kind(
        "text/xml", "document", ("xml", "xsl", "xslt", "rss", "wsf", "sct", "plist", "doc", "xls", "gpx", "kml")
    ),
    "ole2": Kind(
        "application/x-ole-storage", "document", ("doc", "xls", "ppt", "msg", "vsd", "pub", "mpp", "wps", "et")
    ),
    "doc": Kind("application/msword", "document", ("doc", "dot", "wiz", "wps")),
    "xls": Kind("application/vnd.ms-excel", "document", ("xls", "xlt", "xla", "et")),
    "ppt": Kind("application/vnd.ms-powerpoint", "document", ("ppt", "pot", "pps", "ppa", "dps")),
    "msg": Kind("application/vnd.ms-outlook", "document", ("msg",)),
    "ooxml-encrypted": Kind(
        "application/encrypted", "document", ("docx", "xlsx", "pptx", "docm", "xlsm", "pptm", "xlsb")
    ),
    "docx": Kind(
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "document",
        ("docx", "docm", "dotx", "dotm"),
    ),
    "xlsx": Kind(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "document",
        ("xlsx", "xlsm", "xlsb", "xltx", "xltm", "xlam"),
    ),
    "pptx": Kind(
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "document",
        ("pptx", "pptm", "ppsx", "ppsm", "potx", "potm", "ppam"),
    ),
    "vsdx": Kind("application/vnd.ms-visio.drawing", "document", ("vsdx", "vsdm", "vstx", "vssx")),
    "xps": Kind("application/vnd.ms-xpsdocument", "document", ("xps", "oxps")),
    "odt": Kind("application/vnd.oasis.opendocument.text", "document", ("odt", "ott", "fodt")),
    "ods": Kind("application/vnd.oasis.opendocument.spreadsheet", "document", ("ods", "ots")),
    "odp": Kind("application/vnd.oasis.opendocument.presentation", "document", ("odp", "otp")),
    "odg": Kind("application/vnd.oasis.opendocument.graphics", "document", ("odg",)),
    "epub": Kind("application/epub+zip", "document", ("epub",)),
    "ofd": Kind("application/ofd", "document", ("ofd",)),
    "onenote": Kind("application/onenote", "document", ("one", "onepkg")),
    "djvu": Kind("image/vnd.djvu", "document", ("djvu", "djv")),
    # Images.
    "png": Kind("image/png", "image", ("png", "apng")),
    "jpeg": Kind("image/jpeg", "image", ("jpg", "jpeg", "jpe", "jfif")),
    "gif": Kind("image/gif", "image", ("gif",)),
    "bmp": Kind("image/bmp", "image", ("bmp", "dib")),
    "tiff": Kind("image/tiff", "image", ("tif", "tiff", "dng", "nef")),
    "webp": Kind("image/webp", "image", ("webp",)),
    "ico": Kind("image/vnd.microsoft.icon", "image", ("ico", "cur")),
    "heif": Kind("image/heif", "image", ("heic", "heif", "avif")),
    "psd": Kind("image/vnd.adobe.photoshop", "image", ("psd", "psb")),
    "svg": Kind("image/svg+xml", "image", ("svg",)),
    "emf": Kind("image/emf", "image", ("emf",)),
    "wmf": Kind("image/wmf", "image", ("wmf",)),
    "jp2": Kind("image/jp2", "image", ("jp2", "j2k", "jpf", "jpx")),
    # Sound, film, letters.
    "mp3": Kind("audio/mpeg", "audio", ("mp3",)),
    "wav": Kind("audio/wav", "audio", ("wav",)),
    "ogg": Kind("audio/ogg", "audio", ("ogg", "oga", "ogv", "opus")),
    "flac": Kind("audio/flac", "audio", ("flac",)),
    "midi": Kind("audio/midi", "audio", ("mid", "midi")),
    "amr": Kind("audio/amr", "audio", ("amr",)),
    "mp4": Kind("video/mp4", "video", ("mp4", "m4v", "m4a", "mov", "3gp", "qt", "m4b")),
    "avi": Kind("video/x-msvideo", "video", ("avi",)),
    "matroska": Kind("video/x-matroska", "video", ("mkv", "webm", "mka")),
    "mpeg": Kind("video/mpeg", "video", ("mpg", "mpeg", "vob")),
    "flv": Kind("video/x-flv", "video", ("flv",)),
    "asf": Kind("video/x-ms-asf", "video", ("wmv", "wma", "asf")),
    "ttf": Kind("font/ttf", "font", ("ttf",)),
    "otf": Kind("font/otf", "font", ("otf",)),
    "woff": Kind("font/woff", "font", ("woff", "woff2")),
    "sqlite": Kind("application/vnd.sqlite3", "data", ("sqlite", "db", "sqlite3")),
    "pgp": Kind("application/pgp-encrypted", "data", ("pgp", "gpg", "asc")),
}

# An extension that promises a kind; several kinds may honestly have one.
PROMISED: Mapping[str, frozenset[str]] = {
    extension: frozenset(kind for kind, known in KINDS.items() if extension in known.extensions)
    for extension in {extension for known in KINDS.values() for extension in known.extensions}
}
BY_MEDIA_TYPE: Mapping[str, str] = {known.media_type: kind for kind, known in KINDS.items()}
