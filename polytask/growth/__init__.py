"""What a trained model can become without starting over: one more task, more data, more items."""
