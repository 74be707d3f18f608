"""Few retries while most attempts fail, and all of them again once they succeed."""

from hypothesis import given
from hypothesis import strategies as st

from polytask.client.retry_budget import RetryBudget, budget_of


def test_half_of_the_tokens_are_kept():
    budget = RetryBudget(max_tokens=10, token_ratio=0.1)
    assert [budget.failed() for _ in range(7)] == [True] * 4 + [False] * 3


def test_successes_allow_retries_again():
    budget = RetryBudget(max_tokens=4, token_ratio=0.5)
    while budget.failed():
        pass
    for _ in range(6):
        budget.succeeded()
    assert budget.failed()


@given(outcomes=st.lists(st.booleans(), max_size=300))
def test_retries_are_at_most_five_and_a_tenth_of_the_successes(outcomes: list[bool]):
    budget, retries, successes = RetryBudget(), 0, 0
    for succeeded in outcomes:
        if succeeded:
            budget.succeeded()
            successes += 1
        else:
            retries += budget.failed()
    assert retries <= 5 + 0.1 * successes


def test_a_server_has_one_budget():
    assert budget_of("http://a:1") is budget_of("http://a:1")
    assert budget_of("http://a:1") is not budget_of("http://b:1")
