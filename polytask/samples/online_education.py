"""A school: learners follow a goal, go up level by level, and do well at the time of day that suits them."""

import numpy as np
import pandas as pd

from polytask.data.tables import Tables
from polytask.samples.draw import FIT, Circumstance, dayparts, draw_events, yes_or_no

USERS = 160
SUBJECTS = {
    "Statistics": ["averages", "probability", "regression", "sampling"],
    "Programming": ["variables", "functions", "data structures", "testing"],
    "Languages": ["greetings", "past tense", "dialogues", "essays"],
    "Design": ["colour", "typography", "layouts", "prototypes"],
}
LEVELS = {1: "Introduction to", 2: "Practice of", 3: "Advanced"}
FORMATS = ["lecture", "exercise"]
GOALS = {
    "become a data analyst": ["Statistics", "Programming"],
    "write my first app": ["Programming", "Design"],
    "work abroad": ["Languages", "Languages"],
    "start a web studio": ["Design", "Programming"],
}
START_LEVELS = {"beginner": 1, "returning": 2}

# When learners of a level get through a lesson, and score well.
TIME_FOR = {"beginner": ["morning", "afternoon"], "returning": ["evening", "night"]}


def online_education(random: np.random.Generator) -> Tables:
    """The three tables as a user would bring them."""
    rows = [
        (f"{words} {part} ({form})", subject, level, 10 * level + 5 * FORMATS.index(form))
        for subject, parts in SUBJECTS.items()
        for part in parts
        for level, words in LEVELS.items()
        for form in FORMATS
    ]
    items = pd.DataFrame(rows, columns=["title", "subject", "level", "minutes"])
    items.insert(0, "lesson_id", range(101, 101 + len(items)))
    users = pd.DataFrame(
        {
            "learner_id": range(1, USERS + 1),
            "goal": random.choice([*GOALS], USERS),
            "level": random.choice([*START_LEVELS], USERS),
        }
    )
    subjects, levels = items["subject"].to_numpy(), items["level"].to_numpy()
    known = np.array([START_LEVELS[level] for level in users["level"]])
    taste = np.array([[2.5 * GOALS[goal].count(subject) for subject in subjects] for goal in users["goal"]])
    taste -= 1.0 * np.abs(levels[None, :] - known[:, None])
    # After a lesson comes one of the same subject, of the same level or the next.
    step = levels[None, :] - levels[:, None]
    follows = 2.0 * np.equal.outer(subjects, subjects) * ((step == 0) | (step == 1))
    events = draw_events(random, users, items, taste, [Circumstance({}, np.zeros(len(items)))], follows)
    own = events["learner_id"].map(users.set_index("learner_id")["level"])
    suits = np.array([part in TIME_FOR[level] for part, level in zip(dayparts(events), own, strict=True)])
    score = np.clip(np.where(suits, 85, 60) + random.normal(0, 8, len(events)), 0, 100).round()
    completed = yes_or_no(random, suits, 0.9, 0.35)
    events = events.assign(completed=completed, score=np.where(completed == 1, score, np.nan))
    return Tables(users, items, events.drop(columns=FIT))
