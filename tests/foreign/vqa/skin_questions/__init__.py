"""Questions about pictures of skin, and their answers in words."""
