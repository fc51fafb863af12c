# ruff: noqa: RUF001 - what looks like something else is the point
"""URLs that others may give the hub to ask, and that it must not: each leads to this machine, inside, or nowhere.

`{port}` is where a canary listens, on every address of this machine. Names are those of `outside.py`.
"""

HERE = [
    *("127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "127.0.0.1.", "localhost", "LOCALHOST", "localhost."),
    *(
        "2130706433",
        "0x7f000001",
        "0x7F.0.0.1",
        "0x7f.1",
        "0177.0.0.1",
        "0177.1",
        "017700000001",
        "0x7f.0x1",
        "00177.1",
    ),
    *("0", "0.0.0.0", "0x0", "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::1%25lo]", "[::1%lo]", "[::ffff:0.0.0.0]"),
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:FFFF:7F00:0001]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]"),
    *("[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]"),
    *(
        "①②⑦.⓪.⓪.①",
        "１２７.０.０.１",
        "127。0。0。1",
        "ⓛocalhost",
        "ｌｏｃａｌｈｏｓｔ",
        "loc\u00adalhost",
        "1\u200d27.0.0.1",
    ),
    *("%31%32%37.0.0.1", "%6cocalhost", "127.0.0.1%00.elsewhere.test", "127.0.0.1%23.elsewhere.test"),
    *("here.test", "HERE.test", "here6.test", "mapped.test", "mixed.test", "mixed6.test", "bücher.test"),
    *("elsewhere.test@127.0.0.1", "elsewhere.test:443@127.0.0.1", "elsewhere.test%2f@127.0.0.1", "@127.0.0.1"),
]
"""Hosts, asked over http and https alike."""

INSIDE = [
    *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255"),
    *("0.1.2.3", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1"),
    *("224.0.0.1", "239.255.255.250", "255.255.255.255", "0x0a000001", "167772161", "012.0.0.1", "10.1"),
    *("169.254.169.254", "169.254.170.2", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "169.254.43518"),
    *("100.100.100.200", "168.63.129.16", "192.0.0.192", "[fd00:ec2::254]", "[fd20:ce::254]"),
    *("[::ffff:169.254.169.254]", "[::ffff:10.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1:a9fe:a9:fe00:808:808]"),
    *("[2002:a9fe:a9fe::1]", "[2002:a00:1::1]", "[2001::1]", "[2001:db8::1]", "[3fff::1]", "[5f00::1]", "[100::1]"),
    *("[fe80::1]", "[fe80::1%25eth0]", "[fec0::1]", "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[ff0e::1]", "[1::1]"),
    *("intranet", "metadata.google.internal", "nat64.test", "①⑥⑨.②⑤④.①⑥⑨.②⑤④"),
]
"""Hosts, asked over https: by http nothing but this machine is ever asked on the word of others."""

FORMS = [
    *("", ":", "/", "//", "http", "http:", "http://", "http://:{port}/", "http://./"),
    *("file:///etc/passwd", "file://127.0.0.1:{port}/", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/_GET"),
    *(
        "dict://127.0.0.1:{port}/stat",
        "ldap://127.0.0.1:{port}/",
        "jar:http://127.0.0.1:{port}/!/",
        "unix:///run/x.sock",
    ),
    *(
        "javascript:fetch('//127.0.0.1:{port}')",
        "data:application/json,{{}}",
        "ws://127.0.0.1:{port}/",
        "ssh://127.0.0.1",
    ),
    *(
        "//127.0.0.1:{port}/",
        "127.0.0.1:{port}",
        "/127.0.0.1:{port}/",
        "http:127.0.0.1:{port}",
        "http:/127.0.0.1:{port}",
    ),
    *("http:///127.0.0.1:{port}/", "http:\\\\127.0.0.1:{port}\\", "http://127.0.0.1:{port}\\@elsewhere.test/"),
    *(
        "http://elsewhere.test\\@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}#@elsewhere.test/",
    ),
    *("http://127.0.0.1:{port}:443/", "http://elsewhere.test:443:{port}@127.0.0.1/", "http://127.0.0.1:99999/"),
    *(
        " http://127.0.0.1:{port}/",
        "\x00http://127.0.0.1:{port}/",
        "ht\ntp://127.0.0.1:{port}/",
        "http://127.0.0.1\t:{port}/",
    ),
    *(
        "http://elsewhere.test\r\nHost: x@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/\r\nX-Injected: 1",
        "HTTP://127.0.0.1:{port}/",
    ),
    *(
        "https://user:canary-4242@elsewhere.test/",
        "https://user@elsewhere.test/",
        "http://elsewhere.test/",
        "http://home.test/",
    ),
    *("https://" + "a" * 64 + ".test/", "https://a..test/", "https://xn--/", "https://nowhere.test/"),
]

URLS = [
    *(f"{scheme}://{host}:{{port}}/" for scheme in ("http", "https") for host in HERE),
    *(f"https://{host}:{{port}}/" for host in INSIDE),
    *FORMS,
]

UNREADABLE = ["https://[", "https://[]/", "https://[::1", "http://[127.0.0.1]/"]
"""Those that a parser fails on, rather than taking them for something."""
