"""Who someone is: the account, its names and addresses, and the one place that checks a password."""
