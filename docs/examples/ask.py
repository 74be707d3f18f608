"""Request recommendations for one and for many users: python ask.py host:port [user ...]"""

import sys

from polytask.client import Question, RecommenderClient

url, *users = sys.argv[1:]
keys = [int(user) for user in users or ("10", "20")]

with RecommenderClient(url, deadline_seconds=2.0) as client:
    answer = client.recommend(keys[0], query="a scary ghost story", k=3, slate=4)
    for task, entries in answer.tasks.items():
        # Users have no titles by default, entries of classes have a label.
        print(task, [getattr(one, "title", "") or getattr(one, "label", "") or one.id for one in entries[:3]])
    print("merged", [(entry.task, entry.title or entry.id) for entry in answer.slate])
    print("model", answer.model_version, {stage: f"{ms:.1f} ms" for stage, ms in answer.timings.items()})

    # Many users are one call.
    for answer in client.recommend_many([Question(key) for key in keys], tasks=["item"], k=1):
        print(answer.user, answer.tasks["item"][0], "nothing is known" if answer.cold_start else "")
