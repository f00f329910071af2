"""Small tables of addresses in MaxMind's format, made by the mmdb-writer package. Addresses and numbers are those that
are kept for documentation (RFC 5737, RFC 3849, RFC 5398) and for private use.
"""

from pathlib import Path

import mmdb_writer
from netaddr import IPSet

# When a table was made stands in it: always the same time, so that the same script makes the same file.
mmdb_writer.time.time = lambda: 1_800_000_000
HERE = Path(__file__).parent


def table(kind: str, entries: list[tuple[list[str], dict]]) -> mmdb_writer.MMDBWriter:
    writer = mmdb_writer.MMDBWriter(
        ip_version=6,
        ipv4_compatible=True,
        database_type=kind,
        description={"en": f"{kind} of addresses for documentation"},
        languages=["en"],
        int_type="u32",
    )
    for networks, record in entries:
        writer.insert_network(IPSet(networks), record)
    return writer


systems = table(
    "Systems",
    [
        (["192.0.2.0/24", "2001:db8:1::/48"], {"autonomous_system_number": 64496, "autonomous_system_organization": "One"}),
        (["198.51.100.0/24"], {"autonomous_system_number": 64497, "autonomous_system_organization": "Two"}),
        (["203.0.113.128/25"], {"autonomous_system_number": 4200000000}),
    ],
)
systems.to_db_file(str(HERE / "systems.mmdb"))
countries = table("Countries", [(["192.0.2.0/24"], {"country": {"iso_code": "XX"}})])
countries.to_db_file(str(HERE / "countries.mmdb"))
