"""A process of its own that runs the embedded services.

``python -m tests.support.gateway.services_host DATA_DIR [load]`` says ``ready``; under load then
the number of each committed row.
"""

import asyncio
import sys
from pathlib import Path

import asyncpg

from gateway.services import EmbeddedServices


async def main() -> None:
    services = EmbeddedServices(Path(sys.argv[1]))
    urls = await services.start()
    print("ready", flush=True)
    if sys.argv[2:] == ["load"]:
        connection = await asyncpg.connect(urls.database_url)
        await connection.execute("CREATE TABLE rows (i int PRIMARY KEY, fill text)")
        number = 0
        while True:
            number += 1
            await connection.execute("INSERT INTO rows VALUES ($1, $2)", number, "x" * 2000)
            print(number, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await services.stop()


if __name__ == "__main__":
    asyncio.run(main())
