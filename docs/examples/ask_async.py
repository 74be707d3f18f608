"""Request recommendations for many users concurrently from one event loop: python ask_async.py host:port [user ...]"""

import asyncio
import sys

from polytask.client import AsyncRecommenderClient, ServiceUnavailable
from polytask.errors import RequestError


async def main(url: str, users: list[int]) -> None:
    async with AsyncRecommenderClient(url, deadline_seconds=2.0) as client:
        answers = await asyncio.gather(*(client.recommend(user, tasks=["item"], k=3) for user in users))
        for answer in answers:
            print(answer.user, [entry.id for entry in answer.tasks["item"]])
        try:
            await client.recommend(users[0], k=0)
        except RequestError as error:
            print("refused:", error.field)
        except ServiceUnavailable as error:
            print("try again:", error)


asyncio.run(main(sys.argv[1], [int(user) for user in sys.argv[2:] or ("10", "20", "30")]))
