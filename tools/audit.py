"""`make audit`: does the open vulnerability database (osv.dev) know of anything in what we ship?

Needs the network, and is therefore no part of `make test`; the floors that must hold anyway are in
tests/test_supply.py. Exit status: 0 nothing known, 1 something is, 2 it could not be asked.
"""

import argparse
import sys

import httpx

from tools.sbom import Component, packages, vendored

SERVICE = "https://api.osv.dev"
WITHIN_S = 30


def known(components: list[Component], service: str) -> dict[str, list[str]]:
    """The ids of what is known, by package URL; raises httpx.HTTPError, ValueError."""
    asked = [each.purl for each in components if each.version]
    found: dict[str, list[str]] = {}
    pages = dict.fromkeys(asked, "")
    with httpx.Client(base_url=service, timeout=WITHIN_S) as client:
        while pages:
            queries = [
                {"package": {"purl": purl}} | ({"page_token": page} if page else {})
                for purl, page in pages.items()
            ]
            answer = client.post("/v1/querybatch", json={"queries": queries}).raise_for_status()
            results = answer.json()["results"]
            if len(results) != len(queries):
                raise ValueError("as many answers as questions were expected")
            more = {}
            for purl, result in zip(pages, results, strict=True):
                found.setdefault(purl, []).extend(each["id"] for each in result.get("vulns") or ())
                if token := result.get("next_page_token"):
                    more[purl] = token
            pages = more
    return {purl: ids for purl, ids in found.items() if ids}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", default=SERVICE)
    parser.add_argument("--ignore", action="append", default=[], help="an id that was judged")
    options = parser.parse_args()
    components = [*packages(), *vendored()]
    try:
        found = known(components, options.service)
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as exc:
        sys.stderr.write(f"{options.service} could not be asked: {exc}\n")
        return 2
    lines = [
        f"{purl}: {each}  https://osv.dev/vulnerability/{each}"
        for purl, ids in found.items()
        for each in ids
        if each not in options.ignore
    ]
    told = "\n".join(lines) or f"Nothing is known of these {len(components)} packages."
    sys.stdout.write(f"{told}\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
