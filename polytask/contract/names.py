"""Names of all tensors: those of the exported models, and those of the requests and responses of the service.

Training, export, server and client take them from here. This module imports nothing, so that a client starts quickly.
"""

# Inputs and outputs of the exported models.
INPUT_IDS = "input_ids"
ATTENTION_MASK = "attention_mask"
TEXT_VECTOR = "text_vector"
HISTORY = "history"
SEEN = "seen"
USER = "user"
DISLIKED = "disliked"
ALLOWED = "allowed"
ENCODED_TEXT = "encoded_text"

# Scores of rows that may not be recommended (padding, seen items, the user itself). Finite, so that no arithmetic turns
# it into NaN; far below any real logit.
MASKED_SCORE = -1e9

# Inputs of a request to the service.
USER_ID = "user_id"
QUERY = "query"
TIMESTAMP = "timestamp"
CONTEXT = "context"
RECENT_ITEMS = "recent_items"
EXCLUDE_ITEMS = "exclude_items"
DISLIKED_ITEMS = "disliked_items"
ITEM_LISTS = (RECENT_ITEMS, EXCLUDE_ITEMS, DISLIKED_ITEMS)
# Inputs that hold keys of users or items.
KEYS = (USER_ID, *ITEM_LISTS)
# Inputs about the whole request.
COUNT = "k"
TASKS = "tasks"
SLATE = "slate"
TASK_WEIGHTS = "task_weights"
FILTERS = "filters"

# Fields of a request to the explainer that the recommender does not have.
INSTANCES = "instances"
TARGETS = "targets"

# Outputs of a response besides those of the tasks, which are named `<task>_ids`, `<task>_scores`, ...
COLD_START = "cold_start"
TRUNCATED = "truncated"
STALE_FEATURES = "stale_features"
DEGRADED = "degraded"
FLAGS = (COLD_START, TRUNCATED, STALE_FEATURES, DEGRADED)
SLATE_TASKS = "slate_tasks"
SLATE_IDS = "slate_ids"
SLATE_TITLES = "slate_titles"
SLATE_SCORES = "slate_scores"
SLATE_COLUMNS = (SLATE_TASKS, SLATE_IDS, SLATE_TITLES, SLATE_SCORES)
PRIORITY_TASKS = "priority_tasks"
PRIORITY = "priority"
# Name -> datatype of the tensors of a merged slate, (B, S), and of the priorities it was merged by, (B, k).
SLATE_TYPES = {
    SLATE_TASKS: "BYTES",
    SLATE_IDS: "BYTES",
    SLATE_TITLES: "BYTES",
    SLATE_SCORES: "FP32",
    PRIORITY_TASKS: "BYTES",
    PRIORITY: "FP32",
}
SLATE_OUTPUTS = tuple(SLATE_TYPES)
