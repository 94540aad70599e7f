"""The session store: a private file with one session for each service and user."""
