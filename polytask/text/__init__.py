"""Request text: templates, time context, tokenizer, language model, cached text vectors."""
