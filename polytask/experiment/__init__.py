"""`polytask evaluate`: several seeds and variants, compared with each other and with baselines."""
