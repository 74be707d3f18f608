"""A shop: households like some departments, stay in one for a while, and buy where they are used to."""

import numpy as np
import pandas as pd

from polytask.data.tables import Tables
from polytask.samples.draw import FIT, Circumstance, draw_events, tastes, yes_or_no

USERS = 160
ARTICLES = {
    "Outdoor": ["tent", "sleeping bag", "hiking boots", "camping stove", "rucksack"],
    "Kitchen": ["bread knife", "frying pan", "coffee grinder", "mixing bowl", "kettle"],
    "Garden": ["watering can", "rose shears", "wheelbarrow", "seed tray", "lawn rake"],
    "Toys": ["wooden train", "puzzle", "kite", "dolls' house", "building blocks"],
    "Office": ["desk lamp", "fountain pen", "notebook", "monitor stand", "office chair"],
}
KINDS = ["Plain", "Large", "Light", "Classic", "Premium"]
PRICES = {"Outdoor": 90, "Kitchen": 40, "Garden": 30, "Toys": 25, "Office": 60}
# What a household buys more of, in logits.
HOUSEHOLDS = {"single": {"Office": 1.0}, "couple": {"Kitchen": 1.0, "Outdoor": 0.5}, "family": {"Toys": 2.0}}
# What is rather bought here than there.
CHANNELS = {"app": {"Toys": 0.5}, "web": {"Office": 1.0}, "store": {"Garden": 2.0}}

# Where a household buys; elsewhere it mostly looks. Neither household nor channel alone predicts the purchase.
BUYS_IN = {"single": "app", "couple": "web", "family": "store"}


def ecommerce(random: np.random.Generator) -> Tables:
    """The three tables as a user would bring them."""
    rows = [
        (department, f"{kind} {noun}") for department, nouns in ARTICLES.items() for noun in nouns for kind in KINDS
    ]
    items = pd.DataFrame(rows, columns=["department", "title"])
    items.insert(0, "article_id", [f"a{number:03}" for number in range(1, len(items) + 1)])
    items["price"] = [
        round(PRICES[department] * (1 + KINDS.index(title.split()[0]) / 2), 2) for department, title in rows
    ]
    users = pd.DataFrame(
        {
            "customer_id": [f"c{number:03}" for number in range(1, USERS + 1)],
            "age": random.integers(18, 80, USERS),
            "household": random.choice([*HOUSEHOLDS], USERS),
        }
    )
    departments = items["department"]
    taste = tastes(random, USERS, [*ARTICLES], [*departments])
    for row, household in enumerate(users["household"]):
        taste[row] += [HOUSEHOLDS[household].get(department, 0.0) for department in departments]
    channels = [
        Circumstance({"channel": name}, np.array([more.get(department, 0.0) for department in departments]))
        for name, more in CHANNELS.items()
    ]
    same = np.equal.outer(departments.to_numpy(), departments.to_numpy())
    events = draw_events(random, users, items, taste, channels, 1.5 * same)
    households = events["customer_id"].map(users.set_index("customer_id")["household"])
    suits = (households.map(BUYS_IN) == events["channel"]).to_numpy()
    return Tables(users, items, events.assign(bought=yes_or_no(random, suits, 0.85, 0.15)).drop(columns=FIT))
