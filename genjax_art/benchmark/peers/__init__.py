"""The same models in plain PyTorch, for parity tests and for speed comparison; nothing else imports them."""
