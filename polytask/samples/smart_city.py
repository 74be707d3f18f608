"""A city: where people go depends on who they are, on where they stand and on the weather."""

from itertools import product

import numpy as np
import pandas as pd

from polytask.data.tables import Tables
from polytask.samples.draw import FIT, Circumstance, draw_events, tastes

USERS = 160
SPOTS = {
    "Parks": ["Rose Garden", "Lake Meadow", "Old Orchard", "Castle Park"],
    "Museums": ["Museum of Glass", "City Gallery", "Maritime Museum", "House of Printing"],
    "Cafes": ["Corner Café", "Tea Room", "Bakery at the Bridge", "Reading Café"],
    "Swimming": ["River Lido", "Open-air Pool", "Lake Beach", "Harbour Bath"],
    "Transport": ["Tram line", "Ferry", "Bike rental", "Night bus"],
    "Libraries": ["Public Library", "Reading Hall", "Children's Library", "Archive"],
}
DISTRICTS = ["Northside", "Harbour", "Old Town", "Riverside"]
# How much the weather and the place draw people to a scene, in logits.
WEATHER = {
    "sun": {"Parks": 3.0, "Swimming": 1.0},
    "rain": {"Museums": 3.0, "Libraries": 2.0, "Parks": -2.0, "Swimming": -3.0},
    "heat": {"Swimming": 4.0, "Parks": 1.0},
    "snow": {"Cafes": 3.5, "Museums": 1.0, "Swimming": -4.0},
}
PLACES = {"home": {}, "work": {"Cafes": 1.5}, "station": {"Transport": 4.0}, "centre": {"Museums": 1.0}}


def smart_city(random: np.random.Generator) -> Tables:
    """The three tables as a user would bring them."""
    rows = [
        (f"{name}, {district}", district, [scene])
        for scene, names in SPOTS.items()
        for name in names
        for district in DISTRICTS
    ]
    items = pd.DataFrame(rows, columns=["title", "district", "scenes"])
    items.insert(0, "spot_id", range(1, len(items) + 1))
    users = pd.DataFrame(
        {
            "resident_id": range(1, USERS + 1),
            "age": random.choice([20, 35, 50, 65], USERS),
            "district": random.choice(DISTRICTS, USERS),
        }
    )
    scenes = [names[0] for names in items["scenes"]]
    # A habit is weaker than the weather, and everybody prefers what is near.
    taste = 0.5 * tastes(random, USERS, [*SPOTS], scenes)
    taste += 1.0 * np.equal.outer(users["district"].to_numpy(), items["district"].to_numpy())
    circumstances = [
        Circumstance(
            {"place": place, "weather": weather},
            np.array([PLACES[place].get(scene, 0.0) + WEATHER[weather].get(scene, 0.0) for scene in scenes]),
        )
        for place, weather in product(PLACES, WEATHER)
    ]
    events = draw_events(random, users, items, taste, circumstances)
    stars = np.clip(3.0 + 0.4 * events[FIT] + random.normal(0, 0.5, len(events)), 1, 5).round()
    return Tables(users, items, events.assign(stars=stars).drop(columns=FIT))
