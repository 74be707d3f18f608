"""A feed: interests lead from post to post; whether one is liked, and how long it is watched, the moment decides."""

import numpy as np
import pandas as pd

from polytask.data.tables import Tables
from polytask.samples.draw import FIT, Circumstance, dayparts, draw_events, yes_or_no

USERS = 160
TOPICS = {
    "Hiking": ["sunrise over the ridge", "a trail through the beech wood", "wet boots and a warm hut"],
    "Jazz": ["a saxophone in the cellar", "the trio's second set", "an old record by the window"],
    "Cooking": ["slow onion soup", "bread from yesterday's dough", "a curry for six"],
    "Football": ["a goal in the last minute", "rain at the training ground", "the away fans sing"],
    "Gardening": ["first tomatoes", "how I prune roses", "a pond in a week"],
    "Chess": ["a queen given away", "the endgame I lost", "blitz in the park"],
}
FORMATS = ["photo", "video", "thread"]
# On the way people look at what is short.
DEVICES = {"phone": {"photo": 1.0, "thread": -1.0}, "desktop": {"thread": 1.0}, "television": {"video": 2.0}}

# When people have time for a device: then they like more, and stay longer.
TIME_FOR = {"phone": ["morning", "night"], "desktop": ["afternoon"], "television": ["evening"]}


def social_media(random: np.random.Generator) -> Tables:
    """The three tables as a user would bring them."""
    rows = []
    for topic, texts in TOPICS.items():
        others = [other for other in TOPICS if other != topic]
        for text in texts:
            for form in FORMATS:
                for second in (None, str(random.choice(others))):
                    topics = [topic] if second is None else [topic, second]
                    more = f", with a bit of {second.lower()}" if second else ""
                    rows.append((text[0].upper() + text[1:] + more, form, topics))
    items = pd.DataFrame(rows, columns=["text", "format", "topics"])
    items.insert(0, "post_id", range(1, len(items) + 1))
    interests = [sorted(random.choice([*TOPICS], 2, replace=False)) for _ in range(USERS)]
    users = pd.DataFrame(
        {
            "member_id": range(1, USERS + 1),
            "age": random.integers(14, 75, USERS),
            "about": [f"into {one.lower()} and {other.lower()}" for one, other in interests],
        }
    )
    taste = np.array([[2.0 * len({*own} & {*topics}) for topics in items["topics"]] for own in interests])
    devices = [
        Circumstance({"device": name}, np.array([more.get(form, 0.0) for form in items["format"]]))
        for name, more in DEVICES.items()
    ]
    # One post leads to another on what it was about.
    first = items["topics"].str[0].to_numpy()
    events = draw_events(random, users, items, taste, devices, 2.0 * np.equal.outer(first, first))
    suits = np.array(
        [part in TIME_FOR[device] for part, device in zip(dayparts(events), events["device"], strict=True)]
    )
    seconds = np.exp(np.where(suits, 3.0, 1.5) + random.normal(0, 0.3, len(events))).round(1)
    liked = yes_or_no(random, suits, 0.85, 0.15)
    return Tables(users, items, events.assign(liked=liked, seconds=seconds).drop(columns=FIT))
