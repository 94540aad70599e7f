"""Errors of registration."""

from __future__ import annotations

from app.errors import Forbidden, Problem


class UsernameTaken(Problem):
    """The username is taken.

    Usernames are public; whether an email address is known stays secret.
    """

    code = "username_taken"
    title = "This username is taken"
    status = 409

    def __init__(self) -> None:
        super().__init__("Choose another username.", errors={"/username": ["is taken"]})


class RegistrationClosed(Forbidden):
    """The setting REGISTRATION is not `open`."""

    code = "registration_closed"
    title = "Registration is closed"
