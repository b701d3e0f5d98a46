"""Faults at random instants against the real server, and every promise checked after each.

`python -m tests.chaos --rounds 20 --seed 1`; what is promised is in docs/reliability.md.

    dom, shown   what a page shows, and the ops that change it
    page         a page as static/js/socket.js keeps it, strict about what comes down
    window       a real one, in Chromium
    proxy        the network between page and server: cut, frozen, slow
    replies      what the gateway is to send, and what it has sent
    world        the server, the gateway, people, the database file
    faults       what goes wrong
    checks       what must be so afterwards
    rounds       replies under way, faults, checks
    plants       known bugs that it has to find
"""
