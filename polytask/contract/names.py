"""Names on the wire: inputs, outputs and flags of the recommender's API, which server and client take from here."""

# Inputs of a request. Those of KEYS hold keys of users or items.
USER_ID = "user_id"
QUERY = "query"
TIMESTAMP = "timestamp"
CONTEXT = "context"
RECENT_ITEMS = "recent_items"
EXCLUDE_ITEMS = "exclude_items"
DISLIKED_ITEMS = "disliked_items"
ITEM_LISTS = (RECENT_ITEMS, EXCLUDE_ITEMS, DISLIKED_ITEMS)
KEYS = (USER_ID, *ITEM_LISTS)

# Inputs about the whole call.
COUNT = "k"
TASKS = "tasks"
SLATE = "slate"
TASK_WEIGHTS = "task_weights"
FILTERS = "filters"

# Fields of an explainer's request that are no inputs of the recommender.
INSTANCES = "instances"
TARGETS = "targets"

# Outputs about a user, true or false.
COLD_START = "cold_start"
TRUNCATED = "truncated"
STALE_FEATURES = "stale_features"
DEGRADED = "degraded"
FLAGS = (COLD_START, TRUNCATED, STALE_FEATURES, DEGRADED)

# Outputs of a merged slate.
SLATE_TASKS = "slate_tasks"
SLATE_IDS = "slate_ids"
SLATE_TITLES = "slate_titles"
SLATE_SCORES = "slate_scores"
SLATE_COLUMNS = (SLATE_TASKS, SLATE_IDS, SLATE_TITLES, SLATE_SCORES)
PRIORITY_TASKS = "priority_tasks"
PRIORITY = "priority"
SLATE_OUTPUTS = (*SLATE_COLUMNS, PRIORITY_TASKS, PRIORITY)
