"""One file per method, and base.py with the law they obey."""
