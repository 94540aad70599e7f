"""`python -m bench`: print every figure with its meaning. `--short` only tests that it runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass

from bench import enumeration, rates
from bench.servers import UNLIMITED, bare_flask, cache, service

POLICIES = '{"signed": {"audience": "https://api.example"}}'
QUESTIONS = {"default": "", "signed": ", with an identity"}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure, and on what."""

    rounds: int
    seconds: float
    tries: int
    databases: tuple[str, ...]


FULL = Plan(rounds=10, seconds=1.0, tries=200, databases=("SQLite", "PostgreSQL"))
SHORT = Plan(rounds=1, seconds=0.1, tries=2, databases=("SQLite",))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Print figures as ratios of one run."
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help="a few seconds, to show that it works; the figures mean nothing",
    )
    plan = SHORT if parser.parse_args().short else FULL
    # Other load on the machine distorts the ratios: it slows hashes of the service only.
    print(f"{rates.CORES} cores, load {os.getloadavg()[0]:.1f} before the start", flush=True)
    print(
        f"one worker, eight threads; Argon2id {rates.MEMORY_KIB} KiB, {rates.PASSES} passes",
        flush=True,
    )
    for database in plan.databases:
        print(f"\n== {database} ==", flush=True)
        for line in figures(plan, postgres=database == "PostgreSQL"):
            print(line, flush=True)


def figures(plan: Plan, *, postgres: bool) -> Iterator[str]:
    with service(postgres=postgres, **UNLIMITED) as live:
        yield from logins(rates.logins(live, rounds=plan.rounds, seconds=plan.seconds))
        with bare_flask() as bare:
            yield from checks(rates.checks(live, bare, rounds=plan.rounds, seconds=plan.seconds))
    warm = {"DOORWARD_POLICIES": POLICIES, **UNLIMITED}
    with (
        cache() as redis_url,
        service(postgres=postgres, DOORWARD_REDIS_URL=redis_url, **warm) as live,
        bare_flask(redis_url) as bare,
    ):
        yield from warm_checks(
            rates.warm_checks(live, bare, rounds=plan.rounds, seconds=plan.seconds)
        )
        for policy, said in QUESTIONS.items():
            found = rates.questions(
                live, bare, policy=policy, rounds=plan.rounds, seconds=plan.seconds
            )
            yield from asked_by_gateways(found, said)
    for compared in enumeration.enumeration(tries=plan.tries, postgres=postgres):
        yield from alike(compared)


def logins(found: rates.Ratio) -> Iterator[str]:
    rates_of_both = f"({found.ours:.1f} / {found.bound:.1f} per second{refused(found)})"
    yield f"logins / raw Argon2: {found.ratio:.2f}  {rates_of_both}"
    yield "  Logins compared with bare hashes. At 1.00 a login would cost nothing but its hash."


def checks(found: rates.Ratio) -> Iterator[str]:
    rates_of_both = f"({found.ours:.0f} / {found.bound:.0f} per second{refused(found)})"
    yield f"whoami / bare Flask: {found.ratio:.2f}  {rates_of_both}"
    yield "  A check (signature, database, log line) compared with an empty route."


def warm_checks(found: rates.Ratio) -> Iterator[str]:
    rates_of_both = f"({found.ours:.0f} / {found.bound:.0f} per second{refused(found)})"
    yield f"whoami with Redis / bare Flask with one Redis GET: {found.ratio:.2f}  {rates_of_both}"
    yield "  A check from the cache, without SQL. Both sides call Redis once."


def asked_by_gateways(found: rates.Ratio, said: str) -> Iterator[str]:
    rates_of_both = f"({found.ours:.0f} / {found.bound:.0f} per second{refused(found)})"
    name = f"a gateway request{said} / bare Flask with one Redis GET"
    yield f"{name}: {found.ratio:.2f}  {rates_of_both}"
    yield "  What a gateway adds to a request, without SQL. An identity is one signature."


def refused(found: rates.Ratio) -> str:
    return "".join(f"; {count} answered {status}" for status, count in found.refused.items())


def alike(found: enumeration.Compared) -> Iterator[str]:
    said = " ".join(
        f"{part} {'equal' if same else 'DIFFERENT'}"
        for part, same in (
            ("status", found.same_status),
            ("body", found.same_body),
            ("headers", found.same_headers),
        )
    )
    yield (
        f"{found.what}, known - unknown: {found.difference:+.2f} ms, {found.percent:+.1f} %"
        f"  (medians {found.known:.2f} and {found.unknown:.2f} ms); {said}; "
        f"guessed correctly {100 * found.told:.0f} %"
    )
    yield "  What an attacker learns from an answer. 50 % is chance. Bodies without random values."


if __name__ == "__main__":
    main()
